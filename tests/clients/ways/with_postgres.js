// The ways of postgres.js.
const postgres = require('postgres')
const { WRITE, serve, withEach } = require('./orders.js')

// The way, on a connection of its own.
const onItsOwn = (way, options) => async (text, codes) => {
  const sql = postgres({ max: 1, ...options })
  try {
    return (await withEach(codes, code => way(sql, text, code)))[0]
  } finally {
    await sql.end()
  }
}

// What sql`…${code}…` does.
const tagged = (sql, text, code) => {
  const strings = text.split('$1')
  return sql(Object.assign(strings, { raw: strings }), code)
}

async function begin(sql, text, code) {
  let taken
  await sql.begin(async sql => {
    taken = await tagged(sql, text, code)
    await sql.unsafe(WRITE)
    throw Error('rolled back')
  }).catch(() => null)
  return taken
}

async function cursor(sql, text, code) {
  for await (const rows of tagged(sql, text, code).cursor(1)) return rows
}

// Statements are pipelined once they are prepared.
const pipelined = way => onItsOwn(async (sql, text, code) => {
  await tagged(sql, text, 'nobody')
  return way(sql, text, code)
})
const first = async (sql, text, code) => (await Promise.all([tagged(sql, text, code), sql`SELECT 1`]))[0]
const later = async (sql, text, code) => (await Promise.all([sql`SELECT 1`, tagged(sql, text, code)]))[1]

serve({
  'sql as a tag': onItsOwn(tagged),
  'sql.unsafe()': onItsOwn((sql, text, code) => sql.unsafe(text, [code])),
  'the option prepare: false': onItsOwn(tagged, { prepare: false }),
  'sql.begin()': onItsOwn(begin),
  'its cursor()': onItsOwn(cursor),
  'first of a pipeline': pipelined(first),
  'later in a pipeline': pipelined(later)
})
