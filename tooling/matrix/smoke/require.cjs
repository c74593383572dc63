/** The same in CommonJS: Node loads the one ES build through require(), so there is one instance of everything. */
const assert = require('node:assert/strict')
const { proofs } = require('./proofs.mjs')

const modules = {
  core: require('@enablement/core'),
  coreRedis: require('@enablement/core/redis'),
  coreSql: require('@enablement/core/sql'),
  sqlite: require('@enablement/core/sqlite'),
  messaging: require('@enablement/messaging'),
  metering: require('@enablement/metering'),
  meteringRedis: require('@enablement/metering/redis'),
  meteringSql: require('@enablement/metering/sql'),
  runtime: require('@enablement/runtime'),
  runtimeMemory: require('@enablement/runtime/memory'),
  quickjs: require('@enablement/runtime/quickjs'),
  ioredis: require('ioredis')
}

async function main() {
  for (const name of JSON.parse(process.env.ENTRIES)) {
    const [required, imported] = [require(name), await import(name)]
    if (!name.endsWith('.json')) assert.equal(required, imported, `${name} exists twice`)
  }
  const settings = { redisUrl: process.env.REDIS_URL, tenant: process.env.TENANT }
  for (const prove of Object.values(proofs)) await prove(modules, settings)
}

void main()
