// Where the test servers keep what is not an authorization code: a class as oidc-provider wants it, with private members, as
// anybody's may have.
const stored = new Map()

export default class Memory {
  #key

  constructor(model) { this.#key = id => `${model}:${id}` }
  async upsert(id, payload) { stored.set(this.#key(id), payload) }
  async find(id) { return stored.get(this.#key(id)) }
  async findByUid(uid) { return [...stored.values()].find(payload => payload.uid === uid) }
  async consume(id) { stored.get(this.#key(id)).consumed = Math.floor(Date.now() / 1000) }
  async destroy(id) { stored.delete(this.#key(id)) }
  async revokeByGrantId(grantId) {
    for (const [key, payload] of stored) if (payload.grantId === grantId) stored.delete(key)
  }
}
