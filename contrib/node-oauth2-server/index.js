'use strict'
// Authorization codes of @node-oauth/oauth2-server in attesto_codes: single use and reuse detection are the database's.
// The framework's model functions see no request, so each request gets a model of its own, which knows what the client sent.

const { createHash, randomUUID } = require('node:crypto')
const { InvalidGrantError, InvalidRequestError } = require('@node-oauth/oauth2-server')

// Only hashes of codes and access tokens are sent to PostgreSQL.
const s256 = text => createHash('sha256').update(text).digest('base64url')
const seconds = date => Math.ceil(date.getTime() / 1000)

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
    try {
      await db.query('BEGIN')
      const result = await work(db)
      await db.query('COMMIT')
      return result
    } catch (error) {
      await db.query('ROLLBACK').catch(lost => { broken = lost })
      throw error
    } finally {
      db.release(broken)
    }
  }

  return function modelOf(request) {
    // What this request is about: its authenticated client, the hash of the code it redeemed, the family of its tokens.
    let clientId, codeHash, familyId = null

    async function recordAccessToken(db, { accessToken, accessTokenExpiresAt }) {
      const token = [s256(accessToken), seconds(accessTokenExpiresAt)]
      try {
        if (codeHash) return await db.query('SELECT code_complete($1, $2, $3)', [codeHash, ...token])
        const { rows: [{ good }] } = await db.query('SELECT code_record_access_token($1, $2, $3) AS good', [familyId, ...token])
        if (!good) throw new Error('the family is revoked')
      } catch (error) {
        throw new InvalidGrantError('Invalid grant: no tokens may be sent', { inner: error })
      }
    }

    // Answers that the framework makes of null: invalid_grant for a code or a refresh token, invalid_token for an access token.
    return Object.assign(Object.create(host), {
      async getClient(id, secret) {
        const client = await host.getClient(id, secret)
        clientId = client?.id
        return client
      },

      async saveAuthorizationCode(code, client, user) {
        await query('SELECT code_put($1, $2, $3)', [s256(code.authorizationCode), JSON.stringify({
          client_id: client.id, subject: getSubject(user), redirect_uri: code.redirectUri, scope: code.scope,
          code_challenge: code.codeChallenge, code_challenge_method: code.codeChallengeMethod, family_id: randomUUID()
        }), seconds(code.expiresAt)])
        return { ...code, client, user }
      },

      // Presents the code, with all that is checked: a failed check spends it, and a reuse revokes the tokens.
      async getAuthorizationCode() {
        const hash = s256(sent(request, 'code'))
        const { status, data: grant, expires_at: expiresAt } = await query(
          'SELECT status, data, expires_at FROM code_redeem($1, $2, $3, $4)',
          [hash, clientId, sent(request, 'redirect_uri'), sent(request, 'code_verifier')])
        if (status !== 'ok') return null
        codeHash = hash
        familyId = grant.family_id ?? hash
        // The framework hands authorizationCode on to saveToken, which had better not see the code.
        return {
          authorizationCode: hash, client: { id: grant.client_id }, user: await getUser(grant.subject),
          redirectUri: grant.redirect_uri, scope: grant.scope.length ? grant.scope : undefined,
          codeChallenge: grant.code_challenge, codeChallengeMethod: grant.code_challenge_method,
          expiresAt: new Date(expiresAt * 1000)
        }
      },

      // The presentation has spent the code.
      revokeAuthorizationCode: async () => true,

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
        if (!familyId) return token
        const { revoked } = await query('SELECT code_family_revoked($1) AS revoked', [familyId])
        return revoked ? null : token
      },

      async getAccessToken(accessToken) {
        const { revoked } = await query('SELECT code_access_token_revoked($1) AS revoked', [s256(accessToken)])
        return revoked ? null : host.getAccessToken(accessToken)
      },

      // Ends all tokens of a grant, those that are refreshed later too.
      revokeFamily: family => query('SELECT code_revoke_family($1)', [family])
    })
  }
}
