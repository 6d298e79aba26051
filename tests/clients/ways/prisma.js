// A client of Prisma 7 over pg, without a schema. It is made as the code makes it that `prisma generate` writes.
const { getPrismaClient } = require('@prisma/client/runtime/client')
const { PrismaPg } = require('@prisma/adapter-pg')
const { version } = require('@prisma/client/package.json')
const { withEach } = require('./orders.js')

const PrismaClient = getPrismaClient({
  activeProvider: 'postgresql',
  clientVersion: version,
  inlineSchema: 'datasource db {\n  provider = "postgresql"\n}',
  runtimeDataModel: { models: {}, enums: {}, types: {} },
  parameterizationSchema: { strings: [], graph: 'AAAA' },
  previewFeatures: [],
  compilerWasm: {
    importName: './query_compiler_fast_bg.js',
    getRuntime: async () => require('@prisma/client/runtime/query_compiler_fast_bg.postgresql.js'),
    getQueryCompilerWasmModule: async () => {
      const { wasm } = require('@prisma/client/runtime/query_compiler_fast_bg.postgresql.wasm-base64.js')
      return new WebAssembly.Module(Buffer.from(wasm, 'base64'))
    }
  }
})

// The way, on a connection of its own.
exports.onItsOwn = way => async (text, codes) => {
  const db = new PrismaClient({ adapter: new PrismaPg({}) })
  try {
    return await withEach(codes, code => way(db, text, code))
  } finally {
    await db.$disconnect()
  }
}

// What is between the backquotes of $queryRaw`…${code}…`.
exports.template = text => {
  const strings = text.split('$1')
  return Object.assign(strings, { raw: strings })
}
