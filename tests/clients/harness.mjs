// What the tests in Node share: TAP lines, packages, and a database in which an adapter's role works.
import './servers/modules.mjs'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

const { default: pg } = await import('pg')

export const s256 = text => createHash('sha256').update(text).digest('base64url')

let count = 0
let failed = 0

async function tap(name, check) {
  count += 1
  try {
    await check()
    console.log(`ok ${count} - ${name}`)
  } catch (error) {
    failed += 1
    console.log(`not ok ${count} - ${name}\n${error.stack}`.replaceAll('\n', '\n# '))
  }
}

export const equal = (name, got, wanted) => tap(name, async () => assert.deepEqual(await got, wanted))
export const matches = (name, text, pattern) => tap(name, () => assert.match(text, pattern))
export const fails = (name, got, error) => tap(name, () => assert.rejects(got, error))

// Runs the test in a new database, with the role that the README in contrib/ makes. `value` is the first of the first row that a
// statement answers to a superuser.
export async function inDatabase(name, contrib, test) {
  const readme = readFileSync(new URL(`../../contrib/${contrib}/README.md`, import.meta.url), 'utf8')
  const admin = new pg.Client()
  await admin.connect()
  await admin.query(`CREATE DATABASE ${name}`)
  const db = new pg.Client({ database: name })
  const pool = new pg.Pool({ database: name, user: 'oauth_server' })
  try {
    await db.connect()
    await db.query(`CREATE SCHEMA oauth; CREATE EXTENSION attesto_codes SCHEMA oauth; SET search_path = oauth;
      ${/^```sql role\n(.*?)^```$/ms.exec(readme)[1]}; ALTER ROLE oauth_server SET search_path = oauth`)
    await test(pool, async (sql, ...values) => Object.values((await db.query(sql, values)).rows[0] ?? {})[0])
  } finally {
    await pool.end()
    await db.end()
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
    await admin.query('DROP ROLE IF EXISTS oauth_server')
    await admin.end()
  }
  console.log(`1..${count}`)
  process.exitCode = failed > 0 ? 1 : 0
}
