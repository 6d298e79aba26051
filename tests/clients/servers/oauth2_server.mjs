// An authorization server on @node-oauth/oauth2-server, wired as contrib/node-oauth2-server/README.md says. What each of
// these servers answers is written at the head of adapters.py.
import { createHash, generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto'
import http from 'node:http'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const OAuth2Server = require('@node-oauth/oauth2-server')
const { Pool } = require('pg')
const attestoCodes = require('../../../contrib/node-oauth2-server')

const { CODE_TTL, DIE, JWT } = process.env
const pool = new Pool({ max: 20 })
pool.on('error', error => console.error(error.message))
const digest = text => createHash('sha256').update(text).digest('hex')

const grants = ['authorization_code', 'refresh_token']
const clients = {
  app: { id: 1, secret: 'app-secret', redirectUris: ['https://app.example/cb', 'https://app.example/other'], grants },
  other: { id: 2, secret: 'other-secret', redirectUris: ['https://other.example/cb'], grants }
}

// A token of the table, as the framework wants it.
const stored = row => row && {
  accessTokenExpiresAt: row.expires_at, refreshTokenExpiresAt: row.refresh_expires_at, scope: row.scope,
  client: { id: row.client_id }, user: { id: row.subject }, familyId: row.family_id
}
const find = async (column, token) =>
  stored((await pool.query(`SELECT * FROM tokens WHERE ${column} = $1`, [digest(token)])).rows[0])

// A class with private members, as anybody's may be.
class Model {
  #key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  #with = key => ({ key: this.#key[key], dsaEncoding: 'ieee-p1363' })

  async getClient(name, secret) {
    return clients[name] && [null, clients[name].secret].includes(secret) ? clients[name] : null
  }

  async generateAccessToken(client, user) {
    if (!JWT) return randomUUID()
    const claims = { sub: user.id, exp: Math.ceil(Date.now() / 1000) + 60, jti: JWT === 'jti' ? randomUUID() : undefined }
    const signed = [{ alg: 'ES256' }, claims].map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
    return `${signed}.${sign('sha256', signed, this.#with('privateKey')).toString('base64url')}`
  }

  async getAccessToken(token) {
    if (!JWT) return find('access_token', token)
    const [header, payload, signature] = token.split('.')
    if (!verify('sha256', `${header}.${payload}`, this.#with('publicKey'), Buffer.from(signature, 'base64url'))) return null
    const { exp, sub } = JSON.parse(Buffer.from(payload, 'base64url'))
    return { accessTokenExpiresAt: new Date(exp * 1000), user: { id: sub } }
  }

  async saveToken(token, client, user, db) {
    if (DIE && token.authorizationCode) process.kill(process.pid, 'SIGKILL')
    await db.query('INSERT INTO tokens VALUES ($1, $2, $3, $4, $5, $6, $7, $8)',
      [digest(token.accessToken), token.accessTokenExpiresAt, digest(token.refreshToken), token.refreshTokenExpiresAt,
        client.id, user.id, token.scope, token.familyId])
    return { ...token, client, user }
  }

  async getRefreshToken(refreshToken) {
    const token = await find('refresh_token', refreshToken)
    return token && { ...token, refreshToken }
  }

  async revokeToken({ refreshToken }) {
    const sql = 'UPDATE tokens SET refresh_token = NULL WHERE refresh_token = $1'
    return (await pool.query(sql, [digest(refreshToken)])).rowCount === 1
  }
}

const modelOf = attestoCodes(pool, new Model())

async function route({ path, request, response, server }) {
  switch (path) {
    case 'GET /authorize':
      return server.authorize(request, response, { authenticateHandler: { handle: async () => ({ id: 'alice' }) } })
    case 'POST /token':
      return server.token(request, response)
    case 'GET /me':
      response.body = { sub: (await server.authenticate(request, response)).user.id }
      return
    case 'POST /test/revoke':
      return modelOf(request).revokeFamily((await find('access_token', request.body.token)).familyId)
    default:
      response.status = 404
  }
}

async function answer(incoming, outgoing) {
  const url = new URL(incoming.url, 'http://127.0.0.1')
  let body = ''
  for await (const chunk of incoming) body += chunk
  const request = new OAuth2Server.Request({
    method: incoming.method, headers: incoming.headers, query: Object.fromEntries(url.searchParams),
    body: Object.fromEntries(new URLSearchParams(body))
  })
  const response = new OAuth2Server.Response()
  const server = new OAuth2Server({ model: modelOf(request), authorizationCodeLifetime: Number(CODE_TTL ?? 60) })
  try {
    await route({ path: `${incoming.method} ${url.pathname}`, request, response, server })
  } catch (error) {
    // A refused authorization has its redirect already.
    if (!response.headers.location) Object.assign(response, { status: error.code ?? 500, body: { error: error.name } })
    console.error(`${error.name}: ${error.message}`, error.inner?.message ?? '')
  }
  outgoing.writeHead(response.status, { ...response.headers, 'content-type': 'application/json' })
  outgoing.end(JSON.stringify(response.body))
}

await pool.query(`CREATE TABLE IF NOT EXISTS tokens (
  access_token text PRIMARY KEY, expires_at timestamptz NOT NULL, refresh_token text UNIQUE,
  refresh_expires_at timestamptz NOT NULL, client_id integer NOT NULL, subject text NOT NULL, scope text[], family_id text)`)
const listener = http.createServer(answer)
listener.listen(0, '127.0.0.1', () => console.log(`listening http://127.0.0.1:${listener.address().port}`))
