// What the Node programs of this folder share; see orders.py.
const { createInterface } = require('node:readline')

exports.WRITE = 'INSERT INTO undone DEFAULT VALUES'

// Goes the way with each code; gives the answer to the last.
exports.withEach = async (codes, way) => {
  let answer
  for (const code of codes) answer = await way(code)
  return answer
}

const saidOf = row => {
  if (typeof row === 'string') return row
  const { status, data, expires_at } = row
  const grant = typeof data === 'string' ? JSON.parse(data) : data
  return [status, grant.subject, expires_at, typeof expires_at, typeof data].join('\t')
}

// Each way is a function of the statement and the hashes that gives a row.
exports.serve = async ways => {
  console.log(Object.keys(ways).join('\t'))
  for await (const order of createInterface({ input: process.stdin })) {
    const [way, sql, ...codes] = order.split('\t')
    await ways[way](sql, codes).then(row => console.log(saidOf(row)), error => console.log(String(error).replaceAll('\n', ' ')))
  }
}
