import process from 'node:process'
import { describe, it } from 'vitest'
import * as modules from './modules.mjs'
import { proofs } from './proofs.mjs'

const settings = { redisUrl: process.env['REDIS_URL'], tenant: process.env['TENANT'] }

describe('the suite on this Node', () => {
  for (const [name, prove] of Object.entries(proofs)) it(name, () => prove(modules, settings))
})
