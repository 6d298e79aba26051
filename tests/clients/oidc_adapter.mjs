#!/usr/bin/env node
// contrib/node-oidc-provider keeps oidc-provider's contract of an adapter, and says where a code store cannot. The models that
// are stored elsewhere work as before, until their grant is revoked.
import { randomUUID } from 'node:crypto'
import { equal, fails, inDatabase, s256 } from './harness.mjs'
import Memory from './servers/memory.mjs'

const { default: attestoCodes } = await import('../../contrib/node-oidc-provider/index.js')

const EXP = Math.floor(Date.now() / 1000) + 60

// As oidc-provider makes it, with all that it may have, and with a member that it does not have yet.
function payload(jti, grantId) {
  return {
    jti, grantId, kind: 'AuthorizationCode', iat: EXP - 60, exp: EXP, clientId: 'app', accountId: 'alice',
    redirectUri: 'https://app.example/cb', scope: 'openid  api', resource: 'https://api.example', nonce: 'n', acr: 'a',
    amr: ['pwd'], authTime: 1, claims: { userinfo: { email: null } }, sid: 's', sessionUid: 'u', expiresWithSession: true,
    codeChallenge: s256('v'), codeChallengeMethod: 'S256', dpopJkt: 'k', attestationJkt: 'a',
    rar: [{ type: 't', locations: ['https://api.example'] }], 'x-new': { deep: [1, null] }
  }
}

const CHECKED = {
  client_id: 'app', subject: 'alice', redirect_uri: 'https://app.example/cb', scope: ['openid', 'api'],
  resource: ['https://api.example'], code_challenge: s256('v'), code_challenge_method: 'S256', dpop_jkt: 'k', nonce: 'n',
  family_id: 'g1', claims: {}
}

async function ofCodes(codes, value) {
  async function put(code, grantId) {
    await codes.upsert(code, payload(code, grantId), 60)
    return code
  }
  const status = code => value('SELECT status FROM code_inspect($1)', s256(code))
  const [first, second, other] = [await put(randomUUID(), 'g1'), await put(randomUUID(), 'g1'), await put(randomUUID(), 'g2')]

  await equal('upsert and find: the payload comes back whole', codes.find(first), payload(first, 'g1'))
  await equal('the grant has what is checked', value('SELECT data - \'payload\' FROM code_get($1)', s256(first)), CHECKED)
  await equal('an unknown code is not found', codes.find('no-code'), undefined)
  await fails('a code is stored once', put(first, 'g3'), { code: '23505' })
  await equal('and is as it was', codes.find(first), payload(first, 'g1'))
  for (const [name, text] of Object.entries({ 'a NUL': 'n\0', 'half a character': '\ud800' })) {
    const put = codes.upsert(randomUUID(), { ...payload('c', 'g1'), nonce: text })
    await fails(`${name} in a parameter is the client's error`, put, { error: 'invalid_request' })
  }
  await fails('consume outside of the token endpoint is an error', codes.consume(first), /only the token endpoint/)
  await equal('which leaves the code live', status(first), 'live')
  await fails('findByUid is an error', codes.findByUid('u'), /no uid/)
  await fails('findByUserCode is an error', codes.findByUserCode('u'), /no user code/)
  await codes.destroy(first)
  await equal('a destroyed code is not found', codes.find(first), undefined)
  await equal('since it is spent', status(first), 'spent')
  await codes.destroy(first)
  await equal('which revokes nothing, even twice', codes.find(second), payload(second, 'g1'))
  await codes.revokeByGrantId('g1')
  await equal('revokeByGrantId: a code of the grant is not found', codes.find(second), undefined)
  await equal('one of another grant is', codes.find(other), payload(other, 'g2'))
}

async function ofOthers(kind, adapter, value) {
  const grantId = randomUUID()
  const stored = [['Grant', grantId], ['AccessToken', 't', grantId], ['RefreshToken', 'r', grantId], ['Session', 's']]
  for (const [model, id, its] of stored) await adapter(model).upsert(id, { jti: id, uid: `uid of ${id}`, grantId: its })
  const found = () => Promise.all(stored.map(async ([model, id]) => (await adapter(model).find(id))?.jti))

  await equal(`your ${kind} keeps the other models`, found(), [grantId, 't', 'r', 's'])
  await equal(`your ${kind} is asked by uid`, (await adapter('Session').findByUid('uid of s')).jti, 's')
  await value('SELECT code_revoke_family($1)', grantId)
  await equal(`your ${kind}: a revoked grant and its tokens are not found`, found(), [undefined, undefined, undefined, 's'])

  const grants = adapter('Grant')
  const another = randomUUID()
  await grants.upsert(another, { jti: another })
  await grants.destroy(another)
  await equal(`your ${kind} destroys a grant`, new Memory('Grant').find(another), undefined)
  await equal(`your ${kind}: and its family is revoked`, value('SELECT code_family_revoked($1)', another), true)
  await adapter('AccessToken').upsert('free', { jti: 'free' })
  await equal(`your ${kind}: a token without a grant is found`, adapter('AccessToken').find('free'), { jti: 'free' })
}

await inDatabase('oidc_adapter', 'node-oidc-provider', async (pool, value) => {
  await ofCodes(attestoCodes(pool, Memory).adapter('AuthorizationCode'), value)
  await ofOthers('class', attestoCodes(pool, Memory).adapter, value)
  await ofOthers('factory', attestoCodes(pool, model => new Memory(model)).adapter, value)
})
