'use strict'
// Authorization codes of @node-oauth/oauth2-server in attesto_codes: single use and reuse detection are the database's.
// The framework's model functions see no request, so each request gets a model of its own, which knows what the client sent.
const { createHash, randomUUID } = require('node:crypto')
const { InvalidGrantError, InvalidRequestError } = require('@node-oauth/oauth2-server')

// Only hashes of codes, and what names an access token, are sent to PostgreSQL.
const s256 = text => createHash('sha256').update(text).digest('base64url')
// What code_complete says where no tokens may be sent.
const ENDED = ['55000', 'P0002']
const seconds = date => Math.ceil(date.getTime() / 1000)

// What names an access token: its hash; of a JWT the jti, or the hash of what is signed, for a signature can be rewritten.
function tokenId(token) {
  const [header, payload, signature] = token.split('.')
  try {
    const { jti } = signature === undefined ? null : JSON.parse(Buffer.from(payload, 'base64url'))
    return typeof jti === 'string' && /^[^\0]+$/.test(jti) && Buffer.byteLength(jti) <= 1024 ? jti : s256(`${header}.${payload}`)
  } catch { return s256(token) } // It is no JWT.
}

// A parameter of the client; null if it sent none. RFC 6749 §3.1: one without a value counts as not sent.
function sent(request, name) {
  const value = request.body[name]
  if (value === undefined || value === '') return null
  if (typeof value !== 'string' || value.includes('\0')) throw new InvalidRequestError(`Invalid parameter: \`${name}\``)
  return value
}

// Answers a function that makes the model of a request. `pool` is a pg.Pool, `host` is your own model, without the
// functions for codes. `getUser` gives the user object of a subject, and `getSubject` the reverse.
module.exports = function attestoCodes(pool, host, { getUser = id => ({ id }), getSubject = user => user.id } = {}) {
  const query = async (sql, values) => (await pool.query(sql, values)).rows[0]

  // Whatever the host stores with `db`, and the call that makes the tokens good, become one commit.
  async function inTransaction(work) {
    const db = await pool.connect()
    let broken
    const lost = error => { broken = error }
    db.on('error', lost) // The pool does not listen until the release.
    try {
      await db.query('BEGIN')
      const result = await work(db)
      await db.query('COMMIT')
      return result
    } catch (error) {
      await db.query('ROLLBACK').catch(lost)
      throw error
    } finally {
      db.release(broken)
      db.off('error', lost)
    }
  }

  return function modelOf(request) {
    // What this request is about: its authenticated sender, the hash of the code it redeemed, the family of its tokens.
    let sender, codeHash, familyId = null

    // invalid_grant says that code or refresh token are good no more. Any other error is the server's, and says nothing of them.
    async function recordAccessToken(db, { accessToken, accessTokenExpiresAt }) {
      const call = codeHash ? 'code_complete' : 'code_record_access_token'
      const values = [codeHash ?? familyId, tokenId(accessToken), seconds(accessTokenExpiresAt)]
      const { rows: [{ good }] } = await db.query(`SELECT ${call}($1, $2, $3) AS good`, values).catch(inner => {
        throw ENDED.includes(inner.code) ? new InvalidGrantError('Invalid grant: no tokens may be sent', { inner }) : inner
      })
      if (!good) throw new InvalidGrantError('Invalid grant: the family is revoked')
    }

    // Answers that the framework makes of null: invalid_grant for a code or a refresh token, invalid_token for an access token.
    const model = {
      getClient: async (id, secret) => (sender = await host.getClient(id, secret)),
      async saveAuthorizationCode(code, client, user) {
        await query('SELECT code_put($1, $2, $3)', [s256(code.authorizationCode), JSON.stringify({
          client_id: client.id?.toString(), subject: getSubject(user), redirect_uri: code.redirectUri, scope: code.scope,
          code_challenge: code.codeChallenge, code_challenge_method: code.codeChallengeMethod, family_id: randomUUID()
        }), seconds(code.expiresAt)])
        return { ...code, client, user }
      },
      // Presents the code, with all that is checked: a failed check spends it, and a reuse revokes the tokens.
      async getAuthorizationCode() {
        const hash = s256(sent(request, 'code'))
        const { status, data: grant, expires_at: expiresAt } = await query(
          'SELECT status, data, expires_at FROM code_redeem($1, $2, $3, $4)',
          [hash, sender.id?.toString(), sent(request, 'redirect_uri'), sent(request, 'code_verifier')])
        const user = status === 'ok' && await getUser(grant.subject)
        if (!user) return null
        codeHash = hash
        familyId = grant.family_id ?? hash
        // The framework hands authorizationCode on to saveToken, which had better not see the code.
        return {
          authorizationCode: hash, client: sender, user, redirectUri: grant.redirect_uri,
          scope: grant.scope.length ? grant.scope : undefined, codeChallenge: grant.code_challenge,
          codeChallengeMethod: grant.code_challenge_method, expiresAt: new Date(expiresAt * 1000)
        }
      },
      revokeAuthorizationCode: async () => true, // The presentation has spent it.
      saveToken: (token, client, user) => inTransaction(async db => {
        const saved = await host.saveToken({ ...token, familyId }, client, user, db)
        if (familyId) await recordAccessToken(db, token)
        return saved
      }),
      async getRefreshToken(refreshToken) {
        const token = await host.getRefreshToken(refreshToken)
        if (!token) return null
        if (token.familyId === undefined) throw new Error('getRefreshToken must answer the familyId that saveToken was given')
        familyId = token.familyId
        return familyId && (await query('SELECT code_family_revoked($1) AS revoked', [familyId])).revoked ? null : token
      },
      async getAccessToken(accessToken) {
        const { revoked } = await query('SELECT code_access_token_revoked($1) AS revoked', [tokenId(accessToken)])
        return revoked ? null : host.getAccessToken(accessToken)
      },
      // Ends all tokens of a grant, those that are refreshed later too.
      revokeFamily: family => query('SELECT code_revoke_family($1)', [family])
    }
    // The host does the rest as itself, since it may be of a class with private members.
    return new Proxy(model, { get: (_, name) => model[name] ?? host[name]?.bind?.(host) ?? host[name] })
  }
}
