#!/usr/bin/env node
// contrib/node-oidc-provider in a provider of this process, with what flow.py does not know: JWT access tokens, DPoP, a grant
// that is revoked while the token endpoint works, and what the log says.
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import http from 'node:http'
import { equal, inDatabase, matches, s256 } from './harness.mjs'
import Memory from './servers/memory.mjs'

const { Provider } = await import('oidc-provider')
const { default: attestoCodes } = await import('../../contrib/node-oidc-provider/index.js')

// Node 20 has no URL.parse, which oidc-provider uses.
URL.parse ??= (...url) => URL.canParse(...url) ? new URL(...url) : null

const REDIRECT_URI = 'https://app.example/cb'
const RESOURCE = 'https://api.example'
const REFUSED = { status: 400, error: 'invalid_grant', error_description: 'grant request is invalid' }
const base64url = value => Buffer.from(JSON.stringify(value)).toString('base64url')
const jtiOf = jwt => JSON.parse(Buffer.from(jwt.split('.')[1], 'base64url')).jti

// A provider that listens, and a client of it. `meanwhile` is what happens in a token request between redemption and completion.
class Server {
  details = []
  meanwhile = async () => {}

  constructor({ adapter, middleware }, value, { knowsDpop = true } = {}) {
    this.adapter = adapter
    this.middleware = middleware
    this.value = value
    this.knowsDpop = knowsDpop
  }

  async run(...tests) {
    const server = http.createServer()
    await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
    const issuer = `http://127.0.0.1:${server.address().port}`
    this.endpoint = `${issuer}/token`
    this.provider = new Provider(issuer, this.configuration())
    if (this.middleware) this.provider.use(this.middleware)
    this.provider.on('grant.error', (ctx, error) => this.details.push(error.error_detail))
    this.provider.on('server_error', (ctx, error) => this.details.push(error.message))
    server.on('request', this.provider.callback())
    for (const test of tests) await test(this)
    server.close()
    server.closeAllConnections()
  }

  configuration() {
    const grants = ['authorization_code', 'refresh_token']
    const resourceServer = { scope: 'api', audience: RESOURCE, accessTokenFormat: 'jwt' }
    return {
      adapter: this.adapter,
      clients: [{ client_id: 'app', client_secret: 'app-secret', redirect_uris: [REDIRECT_URI], grant_types: grants }],
      features: {
        devInteractions: { enabled: false },
        dPoP: { enabled: this.knowsDpop },
        introspection: { enabled: true },
        revocation: { enabled: true },
        resourceIndicators: { enabled: true, getResourceServerInfo: () => resourceServer, useGrantedResource: () => true }
      },
      findAccount: async (ctx, id) => {
        await this.meanwhile(ctx)
        return { accountId: id, claims: () => ({ sub: id }) }
      },
      enabledJWA: { dPoPSigningAlgValues: ['ES256', 'EdDSA', 'RS256'] },
      issueRefreshToken: async () => true
    }
  }

  // What the authorization endpoint does.
  async issue(members) {
    const { AuthorizationCode, Client, Grant } = this.provider
    const grant = new Grant({ clientId: 'app', accountId: 'alice' })
    grant.addOIDCScope('openid')
    grant.addResourceScope(RESOURCE, 'api')
    const code = new AuthorizationCode({
      client: await Client.find('app'), accountId: 'alice', grantId: await grant.save(), redirectUri: REDIRECT_URI,
      scope: 'openid', ...members
    })
    return { code: await code.save(), grantId: grant.jti }
  }

  post(url, form, headers) {
    const authorization = `Basic ${Buffer.from('app:app-secret').toString('base64')}`
    return fetch(url, { method: 'POST', body: new URLSearchParams(form), headers: { authorization, ...headers } })
  }

  async token(form, headers) {
    const response = await this.post(this.endpoint, form, headers)
    return { status: response.status, ...await response.json() }
  }

  redeem(code, headers) {
    return this.token({ grant_type: 'authorization_code', redirect_uri: REDIRECT_URI, code }, headers)
  }

  refresh(refreshToken) {
    return this.token({ grant_type: 'refresh_token', refresh_token: refreshToken })
  }
}

// `jti` is how a resource server knows a token.
async function recorded(server, kind, jti, members) {
  const { code } = await server.issue(members)
  const tokens = await server.redeem(code)
  const refreshed = await server.refresh(tokens.refresh_token)
  const revoked = () => Promise.all([tokens, refreshed].map(({ access_token: token }) =>
    server.value('SELECT code_access_token_revoked($1)', jti(token))))
  await equal(`${kind} access tokens are good`, revoked(), [false, false])
  await equal(`${kind}: a reuse gets no tokens`, server.redeem(code), REFUSED)
  await equal(`${kind} access tokens are revoked by the reuse`, revoked(), [true, true])
  await equal(`${kind}: the log has the reason`, server.details.pop(), 'authorization code: consumed')
}

// The endpoint of the provider says the same.
async function introspected(server) {
  const { code } = await server.issue()
  const { access_token: token } = await server.redeem(code)
  const active = async () => (await (await server.post(`${server.endpoint}/introspection`, { token })).json()).active
  await equal('introspection: an access token is active', active(), true)
  await server.redeem(code)
  await equal('introspection: after a reuse it is not', active(), false)
}

const opaque = server => recorded(server, 'opaque', s256)
const jwt = server => recorded(server, 'JWT', jtiOf, { scope: 'openid api', resource: RESOURCE })

async function revokedMeanwhile(server) {
  const redeemed = await server.issue()
  const tokens = await server.redeem(redeemed.code)
  const { code, grantId } = await server.issue()
  const revoke = id => () => server.value('SELECT code_revoke_family($1)', id)
  server.meanwhile = revoke(grantId)
  await equal('a grant that is revoked before the completion: no tokens', server.redeem(code), REFUSED)
  await matches('the log has the reason', server.details.pop(), /no tokens may be sent/)
  server.meanwhile = revoke(redeemed.grantId)
  await equal('a grant that is revoked during a refresh: no tokens', server.refresh(tokens.refresh_token), REFUSED)
  await equal('the log has that reason, too', server.details.pop(), 'the grant is revoked')
  server.meanwhile = async () => {}
}

async function soughtTwice(server) {
  const { code } = await server.issue()
  server.meanwhile = ({ oidc: { params } }) => server.provider.AuthorizationCode.find(params.code)
  await equal('a code that is looked for twice in a request is presented once', (await server.redeem(code)).status, 200)
  server.meanwhile = async () => {}
}

async function checkOfTheFramework(server) {
  const { code } = await server.issue({ accountId: 'bob' })
  await equal('a check of oidc-provider fails: no tokens', server.redeem(code), REFUSED)
  await equal('the log has its reason', server.details.pop(), 'accountId mismatch')
  await equal('the code stays spent', server.redeem(code), REFUSED)
  await equal('the log says so', server.details.pop(), 'authorization code: spent')
}

async function revocationEndpoint(server) {
  const { code, grantId } = await server.issue()
  const { access_token: token } = await server.redeem(code)
  await equal('the revocation endpoint answers', (await server.post(`${server.endpoint}/revocation`, { token })).status, 200)
  await equal('and has revoked the family', server.value('SELECT code_family_revoked($1)', grantId), true)
}

// A client with a DPoP key (RFC 9449). The members are those of its thumbprint.
class Key {
  constructor(alg, members, ...type) {
    Object.assign(this, generateKeyPairSync(...type), { alg })
    this.jwk = this.publicKey.export({ format: 'jwk' })
    this.jkt = s256(JSON.stringify(this.jwk, members))
  }

  proof(server) {
    const header = { typ: 'dpop+jwt', alg: this.alg, jwk: { ...this.jwk, kid: 'of no account' } }
    const claims = { jti: randomUUID(), htm: 'POST', htu: server.endpoint, iat: Math.floor(Date.now() / 1000) }
    const signed = [header, claims].map(base64url).join('.')
    const signature = sign(this.alg === 'EdDSA' ? null : 'sha256', signed, { key: this.privateKey, dsaEncoding: 'ieee-p1363' })
    return { DPoP: `${signed}.${signature.toString('base64url')}` }
  }
}

async function dpop(server) {
  const elliptic = () => new Key('ES256', ['crv', 'kty', 'x', 'y'], 'ec', { namedCurve: 'P-256' })
  const key = elliptic()
  const edwards = new Key('EdDSA', ['crv', 'kty', 'x'], 'ed25519')
  const rsa = new Key('RS256', ['e', 'kty', 'n'], 'rsa', { modulusLength: 2048 })
  for (const own of [key, edwards, rsa]) {
    const { code } = await server.issue({ dpopJkt: own.jkt })
    await equal(`${own.alg}: a code is redeemed with its key`, (await server.redeem(code, own.proof(server))).token_type, 'DPoP')
  }
  const others = { dpop_proof_required: undefined, dpop_binding_mismatch: elliptic().proof(server) }
  for (const [reason, headers] of Object.entries(others)) {
    const { code } = await server.issue({ dpopJkt: key.jkt })
    await equal(`${reason}: no tokens`, server.redeem(code, headers), REFUSED)
    await equal(`${reason}: the log has the reason`, server.details.pop(), `authorization code: ${reason}`)
    await equal(`${reason}: the code is burnt`, server.redeem(code, key.proof(server)), REFUSED)
  }
}

// PostgreSQL knows no NUL.
async function nul(server) {
  const mine = { redirect_uri: REDIRECT_URI, code_verifier: 'v'.repeat(43) }
  for (const name of Object.keys(mine)) {
    const { code } = await server.issue({ codeChallenge: s256(mine.code_verifier), codeChallengeMethod: 'S256' })
    const token = form => server.token({ grant_type: 'authorization_code', code, ...mine, ...form })
    await equal(`a NUL in ${name}: no tokens`, token({ [name]: `${mine[name]}\0` }), REFUSED)
    await equal(`a NUL in ${name}: the code is burnt`, token({}), REFUSED)
  }
  await equal('a NUL in a code: no tokens', server.redeem('no\0code'), REFUSED)
}

// No proof at all, where the provider would look at one.
async function notDpop(server) {
  const { code } = await server.issue()
  await equal('a proof that is none: no tokens', (await server.redeem(code, { DPoP: 'none' })).error, 'invalid_dpop_proof')
  await equal('which burns nothing', (await server.redeem(code)).status, 200)
}

async function withoutDpop(server) {
  const { code } = await server.issue()
  const tokens = await server.redeem(code, { DPoP: 'none' })
  await equal('a provider that does not know DPoP looks at no proof', tokens.token_type, 'Bearer')
}

async function withoutMiddleware(server) {
  const { code } = await server.issue()
  await equal('without the middleware no code is redeemed', (await server.redeem(code)).status, 500)
  await matches('the log says what is missing', server.details.pop(), /middleware/)
  await equal('the code stays live', server.value('SELECT status FROM code_inspect($1)', s256(code)), 'live')
}

await inDatabase('oidc_requests', 'node-oidc-provider', async (pool, value) => {
  const codes = attestoCodes(pool, Memory)
  await new Server(codes, value).run(opaque, jwt, introspected, revocationEndpoint)
  await new Server(codes, value).run(revokedMeanwhile, soughtTwice, checkOfTheFramework, nul, dpop, notDpop)
  await new Server(codes, value, { knowsDpop: false }).run(withoutDpop)
  await new Server({ adapter: codes.adapter }, value).run(withoutMiddleware)
})
