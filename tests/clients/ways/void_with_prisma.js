// The ways of Prisma 7 to call what returns void.
const { onItsOwn, template } = require('./prisma.js')
const { serve } = require('./orders.js')

serve({
  '$queryRaw': onItsOwn((db, text, code) => db.$queryRaw(template(text), code).then(() => 'ok')),
  '$executeRaw': onItsOwn((db, text, code) => db.$executeRaw(template(text), code).then(() => 'ok'))
})
