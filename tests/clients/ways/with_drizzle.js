// The ways of drizzle, over the driver that the argument names.
const { sql } = require('drizzle-orm')
const { WRITE, serve, withEach } = require('./orders.js')

const over = {
  pg: () => {
    const client = new (require('pg').Pool)({ max: 1 })
    return { client, db: require('drizzle-orm/node-postgres').drizzle(client) }
  },
  'postgres.js': () => {
    const client = require('postgres')({ max: 1 })
    return { client, db: require('drizzle-orm/postgres-js').drizzle(client) }
  }
}[process.argv[2]]

// The way, on a connection of its own. Rows of pg come in a result.
const onItsOwn = way => async (text, codes) => {
  const { client, db } = over()
  try {
    const taken = await withEach(codes, code => way(db, text, code))
    return (taken.rows ?? taken)[0]
  } finally {
    await client.end()
  }
}

// What sql`…${code}…` does.
const tagged = (text, code) => sql(text.split('$1'), code)

// The columns, and what stands after FROM.
function select(db, text, code) {
  const [, columns, from] = /^SELECT (.*) FROM (.*)$/.exec(text)
  return db.select(Object.fromEntries(columns.split(', ').map(name => [name, sql.raw(name)]))).from(tagged(from, code))
}

async function transaction(db, text, code) {
  let taken
  await db.transaction(async tx => {
    taken = await tx.execute(tagged(text, code))
    await tx.execute(WRITE)
    tx.rollback()
  }).catch(() => null)
  return taken
}

serve({
  'db.execute()': onItsOwn((db, text, code) => db.execute(tagged(text, code))),
  'db.select().from()': onItsOwn(select),
  'db.transaction()': onItsOwn(transaction)
})
