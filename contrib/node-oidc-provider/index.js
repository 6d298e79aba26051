// Authorization codes of oidc-provider in attesto_codes: single use and reuse detection are the database's. A family is an
// oidc-provider Grant, by its grantId: what belongs to a revoked one is not found. All other models stay where you keep them.
import { createHash } from 'node:crypto'
import { errors, Provider } from 'oidc-provider'

// Only hashes of codes and of opaque access tokens are sent to PostgreSQL.
const s256 = text => createHash('sha256').update(text).digest('base64url')

// Makes errors of PostgreSQL with these SQLSTATEs the client's. All others are the server's.
const blame = (errorOf, ...states) => cause => { throw states.includes(cause.code) ? errorOf(cause) : cause }

// What the thumbprint of a key is made of (RFC 7638), by the type of the key.
const MEMBERS = { EC: ['crv', 'kty', 'x', 'y'], OKP: ['crv', 'kty', 'x'], RSA: ['e', 'kty', 'n'] }

// The key of a DPoP proof. oidc-provider has verified it before it looks for the code, unless it does not know DPoP.
function thumbprint(proof) {
  try {
    const { jwk } = JSON.parse(Buffer.from(proof.split('.')[0], 'base64url'))
    return s256(JSON.stringify(jwk, MEMBERS[jwk.kty]))
  } catch { return null }
}

// Members of the payload that the grant has, too, so that code_redeem can check them.
function grantOf(payload) {
  return {
    client_id: payload.clientId, subject: payload.accountId, redirect_uri: payload.redirectUri, family_id: payload.grantId,
    scope: payload.scope?.split(' ').filter(Boolean), resource: [payload.resource ?? []].flat(), nonce: payload.nonce,
    code_challenge: payload.codeChallenge, code_challenge_method: payload.codeChallengeMethod, dpop_jkt: payload.dpopJkt
  }
}

// `pool` is a pg.Pool, and `Adapter` your class or factory for all other models.
export default function attestoCodes(pool, Adapter) {
  const query = async (sql, ...values) => (await pool.query(sql, values)).rows[0]
  const revoke = grantId => query('SELECT code_revoke_family($1)', grantId)
  const isRevoked = async grantId => grantId && (await query('SELECT code_family_revoked($1) AS revoked', grantId)).revoked

  // What a request has presented, by its context: the hash of the code, and the grant that came for it.
  const requests = new WeakMap()

  // Presents the code with what the client sent, before oidc-provider checks anything: a check that fails has spent the code.
  async function redeem({ oidc: { client, params }, req }, codeHash) {
    // No text of PostgreSQL has a NUL. What has one matches nothing, and neither does what stands for it.
    const [redirectUri, verifier] = [params.redirect_uri, params.code_verifier].map(sent => sent?.replaceAll('\0', '\u{FFFD}'))
    const { status, reason, data } = await query('SELECT status, reason, data FROM code_redeem($1, $2, $3, $4, $5)',
      codeHash, client.clientId, redirectUri, verifier, thumbprint(req.headers.dpop))
    if (status !== 'ok') throw new errors.InvalidGrant(`authorization code: ${reason ?? status}`)
    return data
  }

  // The token endpoint presents its code, once a request. Nobody else does: he sees a live code, and leaves it.
  async function look(code) {
    const { ctx } = Provider
    if (ctx?.oidc.route !== 'token' || ctx.oidc.params?.code !== code) {
      const live = 'SELECT data FROM code_get($1) WHERE NOT code_family_revoked(data->>\'family_id\')'
      return (await query(live, s256(code)))?.data
    }
    const request = requests.get(ctx)
    if (!request) throw new Error('attesto_codes: provider.use(middleware) is missing')
    request.codeHash = s256(code)
    return request.data ??= redeem(ctx, request.codeHash)
  }

  const codes = {
    // The payload holds the code itself, as jti.
    async upsert(code, { jti, ...payload }) {
      await query('SELECT code_put($1, $2, $3)', s256(code), { ...grantOf(payload), payload }, payload.exp)
        .catch(blame(cause => new errors.InvalidRequest('a parameter is not text', 400, { cause }), '22P02', '22P05'))
    },
    find: code => look(code).then(data => data && { ...data.payload, jti: code }),
    // `find` has spent it.
    async consume(code) {
      if (requests.get(Provider.ctx)?.codeHash !== s256(code)) throw new Error('attesto_codes: only the token endpoint consumes')
    },
    // A presentation that fails spends a live code, and is never a reuse: no client has an empty name.
    async destroy(code) { await query('SELECT code_redeem($1, \'\')', s256(code)) },
    async revokeByGrantId(grantId) { await revoke(grantId) },
    async findByUid() { throw new Error('attesto_codes: a code has no uid') },
    async findByUserCode() { throw new Error('attesto_codes: a code has no user code') }
  }

  // Your adapter of a model. What belongs to a revoked Grant is not found, and a Grant that is destroyed is revoked.
  function guarded(model) {
    const store = Adapter.prototype ? new Adapter(model) : Adapter(model)
    if (!['AccessToken', 'Grant', 'RefreshToken'].includes(model)) return store
    const { find, destroy } = store
    store.find = async id => {
      const payload = await find.call(store, id)
      return payload && await isRevoked(model === 'Grant' ? id : payload.grantId) ? undefined : payload
    }
    if (model === 'Grant') store.destroy = id => revoke(id).then(() => destroy.call(store, id))
    return store
  }

  // Records the access token, and makes the code redeemed. A resource server knows a JWT by its jti, any other by its hash.
  async function complete({ codeHash }, { expiration, format, grantId, jti }) {
    const call = codeHash ? 'code_complete' : 'code_record_access_token'
    const token = [format === 'jwt' ? jti : s256(jti), Math.ceil(Date.now() / 1000) + expiration]
    const { good } = await query(`SELECT ${call}($1, $2, $3) AS good`, codeHash ?? grantId, ...token)
      .catch(blame(cause => new errors.InvalidGrant({ cause }), '55000', 'P0002'))
    if (!good) throw new errors.InvalidGrant('the grant is revoked')
  }

  // After the whole token response is built, before it is sent.
  async function middleware(ctx, next) {
    requests.set(ctx, {})
    await next()
    const token = ctx.oidc?.route === 'token' && ctx.status === 200 && ctx.oidc.entities.AccessToken
    if (token?.grantId) await complete(requests.get(ctx), token).catch(error => refuse(ctx, error))
  }

  // invalid_grant ends a code or a refresh token. An error of the server says nothing of them.
  function refuse(ctx, error) {
    const { statusCode = 500, error: name = 'server_error', error_description: description } = error
    Object.assign(ctx, { status: statusCode, body: { error: name, error_description: description } })
    ctx.oidc.provider.emit(statusCode < 500 ? 'grant.error' : 'server_error', ctx, error)
  }

  return { middleware, adapter: model => model === 'AuthorizationCode' ? codes : guarded(model) }
}
