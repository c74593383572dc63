import { describe, expect, it } from 'vitest'
import { checkImports } from '../src/imports.ts'
import { type Files, manifest, tree } from './support/tree.ts'

/** Core and a sister in good order: every case plants one fault among these. */
const sound: Files = {
  'packages/core/package.json': manifest('@enablement/core', ['sql', 'sqlite', 'audit'], {
    dependencies: { zod: '4' },
    peerDependencies: { pg: '8' },
    peerDependenciesMeta: { pg: { optional: true } }
  }),
  'packages/core/src/index.ts': `export { turn } from './turn/turn.ts'`,
  'packages/core/src/turn/turn.ts': `import { z } from 'zod'\nexport const turn = z`,
  'packages/core/src/sql/index.ts': `export { sql } from './sql.ts'`,
  'packages/core/src/sql/sql.ts': `export const sql = 1`,
  'packages/core/src/audit/index.ts': `export { audit } from './audit.ts'`,
  'packages/core/src/audit/audit.ts': `import { sql } from '../sql/sql.ts'\nexport const audit = sql`,
  'packages/core/src/sqlite/index.ts': `export { open } from './sqlite.ts'`,
  'packages/core/src/sqlite/sqlite.ts': `import { DatabaseSync } from 'node:sqlite'\nexport const open = DatabaseSync`,
  'packages/core/test/turn.test.ts': `import { turn } from '@enablement/core'\nimport './support.ts'`,
  'packages/core/test/support.ts': `export {}`,
  'packages/metering/package.json': manifest('@enablement/metering', ['redis'], {
    dependencies: { '@enablement/core': 'workspace:^' },
    imports: {
      '#crypto': {
        node: { '@enablement/source': './src/crypto/node.ts', default: './dist/crypto/node.js' },
        default: { '@enablement/source': './src/crypto/noble.ts', default: './dist/crypto/noble.js' }
      }
    }
  }),
  'packages/metering/src/index.ts': `export { quota } from './quota/quota.ts'`,
  'packages/metering/src/quota/quota.ts': `import { turn } from '@enablement/core'\nimport '#crypto'\nexport const quota = turn`,
  'packages/metering/src/crypto/node.ts': `import { hash } from 'node:crypto'\nexport { hash }`,
  'packages/metering/src/crypto/noble.ts': `export const hash = 1`,
  'packages/metering/src/redis/index.ts': `export { store } from './store.ts'`,
  'packages/metering/src/redis/store.ts': `import type { quota } from '../quota/quota.ts'\nimport lua from './consume.lua'\nexport const store = lua`,
  'packages/metering/src/redis/consume.lua': 'return 1'
}

const faultsIn = (planted: Files): string[] => {
  using here = tree({ ...sound, ...planted })
  return checkImports(here.root).faults.map((one) => `${one.file}:${one.line ?? ''} ${one.message}`)
}

describe('imports gate', () => {
  it('accepts a tree in good order', () => {
    expect(faultsIn({})).toEqual([])
  })

  const quota = 'packages/metering/src/quota/quota.ts'
  it.each<{ name: string; planted: Files; says: string }>([
    {
      name: 'core imports a sister',
      planted: { 'packages/core/src/turn/turn.ts': `import '@enablement/metering'` },
      says: 'packages/core/src/turn/turn.ts:1 @enablement/metering: core imports a sister'
    },
    {
      name: 'a sister imports a sister, if only for types',
      planted: {
        'packages/runtime/package.json': manifest('@enablement/runtime'),
        'packages/runtime/src/index.ts': `\nimport type { quota } from '@enablement/metering'`
      },
      says: 'packages/runtime/src/index.ts:2 @enablement/metering: a sister imports a sister'
    },
    {
      name: 'a sister imports a subpath that core does not publish',
      planted: { [quota]: `import '@enablement/core/turn/turn'` },
      says: `${quota}:1 @enablement/core/turn/turn: not a published subpath`
    },
    {
      name: 'a package imports itself by name',
      planted: { [quota]: `import '@enablement/metering/redis'` },
      says: 'imports itself by name'
    },
    {
      name: 'a concept imports an adapter, if only for types',
      planted: { [quota]: `import type { store } from '../redis/store.ts'` },
      says: `${quota}:1 a concept imports the adapter redis/`
    },
    {
      name: 'the root entry re-exports an adapter',
      planted: { 'packages/metering/src/index.ts': `export { store } from './redis/index.ts'` },
      says: 'packages/metering/src/index.ts:1 a concept imports the adapter redis/'
    },
    {
      name: 'a concept imports a published room that stands on node',
      planted: {
        'packages/core/src/audit/audit.ts': `import 'node:fs'`,
        'packages/core/src/turn/turn.ts': `import '../audit/audit.ts'`
      },
      says: 'packages/core/src/turn/turn.ts:1 a concept imports the adapter audit/'
    },
    {
      name: 'folders need each other in a circle, if only for types',
      planted: {
        [quota]: `import type { period } from '../period/period.ts'`,
        'packages/metering/src/period/period.ts': `import type { quota } from '../quota/quota.ts'`
      },
      says: `a cycle: period/ -> quota/ at packages/metering/src/period/period.ts:1, quota/ -> period/ at ${quota}:1`
    },
    {
      name: 'code runs in a circle through a file beside the folders',
      planted: {
        [quota]: `import '../meter.ts'`,
        'packages/metering/src/meter.ts': `import '../src/quota/quota.ts'`
      },
      says: 'a cycle: meter.ts -> quota/'
    },
    {
      name: 'a concept imports a built-in',
      planted: { [quota]: `import { hash } from 'node:crypto'` },
      says: `${quota}:1 node:crypto: a concept imports a node built-in`
    },
    {
      name: 'the root entry reaches a built-in through another package',
      planted: { [quota]: `import { open } from '@enablement/core/sqlite'` },
      says:
        'packages/core/src/sqlite/sqlite.ts:1 @enablement/metering reaches node:sqlite from its root entry: ' +
        `packages/metering/src/index.ts > ${quota} > packages/core/src/sqlite/index.ts > packages/core/src/sqlite/sqlite.ts`
    },
    {
      name: 'a built-in is imported without its prefix',
      planted: { 'packages/core/src/sqlite/sqlite.ts': `import 'fs/promises'` },
      says: 'packages/core/src/sqlite/sqlite.ts:1 fs/promises: write the node: prefix'
    },
    {
      name: 'an import() names what is not declared',
      planted: { [quota]: `export const load = () => import('decimal.js')` },
      says: `${quota}:1 decimal.js: not a declared dependency`
    },
    {
      name: 'a type names what is not declared',
      planted: { [quota]: `export type X = import('pg').Pool` },
      says: `${quota}:1 pg: not a declared dependency`
    },
    {
      name: 'an adapter imports an optional peer',
      planted: { 'packages/core/src/sqlite/sqlite.ts': `import type { Pool } from 'pg'` },
      says: 'packages/core/src/sqlite/sqlite.ts:1 pg: an optional peer is taken by structure'
    },
    {
      name: 'a barrel is no published entry',
      planted: { 'packages/core/src/turn/index.ts': `export { turn } from './turn.ts'` },
      says: 'packages/core/src/turn/index.ts: a barrel that is no published entry'
    },
    {
      name: 'a barrel exports everything',
      planted: { 'packages/core/src/index.ts': `\nexport * from './turn/turn.ts'` },
      says: 'packages/core/src/index.ts:2 `export *`: list the names'
    },
    {
      name: 'a barrel exports everything under a name',
      planted: { 'packages/core/src/index.ts': `export * as turn from './turn/turn.ts'` },
      says: 'packages/core/src/index.ts:1 `export *`: list the names'
    },
    {
      name: 'a relative import leaves the package',
      planted: { [quota]: `import '../../../core/src/turn/turn.ts'` },
      says: `${quota}:1 ../../../core/src/turn/turn.ts leaves the package's sources`
    },
    {
      name: 'a relative import leads nowhere',
      planted: { [quota]: `import './quotas.ts'` },
      says: `${quota}:1 no file ./quotas.ts`
    },
    {
      name: 'a test imports the sources',
      planted: { 'packages/core/test/turn.test.ts': `import '../src/index.ts'` },
      says: 'packages/core/test/turn.test.ts:1 a test imports ../src/index.ts: use the published name'
    },
    {
      name: 'the node half of a platform choice is imported directly',
      planted: { [quota]: `import '../crypto/node.ts'` },
      says: `${quota}:1 ../crypto/node.ts is for node alone: import it by its # name`
    },
    {
      name: 'the root entry reaches a built-in through what a # name is outside node',
      planted: { 'packages/metering/src/crypto/noble.ts': `import 'node:crypto'` },
      says: `@enablement/metering reaches node:crypto from its root entry: packages/metering/src/index.ts > ${quota}`
    },
    {
      name: 'a # name is not in the manifest',
      planted: { [quota]: `import '#random'` },
      says: `${quota}:1 #random: not in the package's imports`
    }
  ])('refuses when $name', ({ planted, says }) => {
    expect(faultsIn(planted).join('\n')).toContain(says)
  })
})
