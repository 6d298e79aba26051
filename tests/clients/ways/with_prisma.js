// The ways of Prisma 7.
const { onItsOwn, template } = require('./prisma.js')
const { WRITE, serve } = require('./orders.js')

const queryRaw = (db, text, code) => db.$queryRaw(template(text), code)

async function interactive(db, text, code) {
  let taken
  await db.$transaction(async tx => {
    taken = await queryRaw(tx, text, code)
    await tx.$executeRawUnsafe(WRITE)
    throw Error('rolled back')
  }).catch(() => null)
  return taken
}

const list = async (db, text, code) => (await db.$transaction([queryRaw(db, text, code), db.$executeRawUnsafe('SELECT 1')]))[0]

// The row of what a way gets.
const row = way => onItsOwn(async (...order) => (await way(...order))[0])

serve({
  '$queryRaw': row(queryRaw),
  '$queryRawUnsafe()': row((db, text, code) => db.$queryRawUnsafe(text, code)),
  '$transaction() with a function': row(interactive),
  '$transaction() with a list': row(list)
})
