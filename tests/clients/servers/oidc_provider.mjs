// An authorization server on oidc-provider, wired as contrib/node-oidc-provider/README.md says. What each of these servers
// answers is written at the head of flow.py.
import http from 'node:http'
import { Provider } from 'oidc-provider'
import pg from 'pg'
import attestoCodes from '../../../contrib/node-oidc-provider/index.js'
import Memory from './memory.mjs'

// Node 20 has no URL.parse, which oidc-provider uses.
URL.parse ??= (...url) => URL.canParse(...url) ? new URL(...url) : null

const { CODE_TTL, DIE } = process.env
const SUBJECT = 'alice'

function client(id, ...redirectUris) {
  return {
    client_id: id, client_secret: `${id}-secret`, redirect_uris: redirectUris, response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'], token_endpoint_auth_method: 'client_secret_basic'
  }
}

// The user's consent needs no page.
async function loadExistingGrant({ oidc: { client, session, provider } }) {
  const known = await provider.Grant.find(session.grantIdFor(client.clientId))
  if (known) return known
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId })
  grant.addOIDCScope('openid')
  await grant.save()
  return grant
}

// After the redemption the token endpoint asks for the account.
async function findAccount(ctx, id) {
  if (DIE && ctx.oidc.route === 'token') process.kill(process.pid, 'SIGKILL')
  return { accountId: id, claims: () => ({ sub: id }) }
}

const configuration = {
  clients: [client('app', 'https://app.example/cb', 'https://app.example/other'), client('other', 'https://other.example/cb')],
  cookies: { keys: ['of the test'] },
  features: { devInteractions: { enabled: false } },
  findAccount,
  interactions: { url: (ctx, { uid }) => `/login/${uid}` },
  issueRefreshToken: async () => true,
  loadExistingGrant,
  pkce: { required: () => false },
  routes: { authorization: '/authorize' },
  ttl: { AuthorizationCode: Number(CODE_TTL ?? 60) }
}

const pool = new pg.Pool({ max: 20 })
pool.on('error', error => console.error(error.message))
const { adapter, middleware } = attestoCodes(pool, Memory)

// The framework's own way to end a grant.
async function revoke(provider, request, response) {
  const body = new URLSearchParams(Buffer.concat(await request.toArray()).toString())
  const { grantId } = await provider.AccessToken.find(body.get('token'))
  await (await provider.Grant.find(grantId)).destroy()
  response.end()
}

const server = http.createServer()
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(issuer, { adapter, ...configuration })
  provider.use(middleware)
  const framework = provider.callback()
  server.on('request', (request, response) => {
    if (request.url === '/test/revoke') return revoke(provider, request, response)
    if (!request.url.startsWith('/login/')) return framework(request, response)
    return provider.interactionFinished(request, response, { login: { accountId: SUBJECT } })
  })
  console.log(`listening ${issuer}`)
})
