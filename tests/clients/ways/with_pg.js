// The ways of pg.
const { Client, Pool } = require('pg')
const { WRITE, serve, withEach } = require('./orders.js')

// The way, on a connection of its own.
const onItsOwn = (way, options) => async (sql, codes) => {
  const client = new Client(options)
  await client.connect()
  try {
    return (await withEach(codes, code => way(client, sql, code))).rows[0]
  } finally {
    await client.end()
  }
}
// Its connection has the option pipeline: statements go out without waiting for the answers of those before them.
const pipelined = way => onItsOwn(way, { pipeline: true })

async function pool(sql, codes) {
  const clients = new Pool()
  const { rows: [row] } = await withEach(codes, code => clients.query(sql, [code]))
  await clients.end()
  return row
}

async function begin(client, sql, code) {
  await client.query('BEGIN')
  const taken = await client.query(sql, [code])
  await client.query(WRITE)
  await client.query('ROLLBACK')
  return taken
}

const first = async (client, sql, code) => (await Promise.all([client.query(sql, [code]), client.query('SELECT $1', [1])]))[0]
const later = async (client, sql, code) => (await Promise.all([client.query('SELECT $1', [1]), client.query(sql, [code])]))[1]

serve({
  'client.query': onItsOwn((client, sql, code) => client.query(sql, [code])),
  'pool.query': pool,
  'a named query': onItsOwn((client, sql, code) => client.query({ name: 'take', text: sql, values: [code] })),
  'after BEGIN': onItsOwn(begin),
  'the option rows, a row limit': onItsOwn((client, sql, code) => client.query({ text: sql, values: [code], rows: 1 })),
  'first of a pipeline': pipelined(first),
  'later in a pipeline': pipelined(later)
})
