import path from 'node:path'
import process from 'node:process'
import { embeddedInVite } from '@enablement/build/vite'
import { defineConfig } from 'vitest/config'

// TARGET=dist loads the built packages, as Node itself resolves them; otherwise the sources.
const conditions = process.env['TARGET'] === 'dist' ? [] : ['@enablement/source']
const all = [...conditions, 'module', 'node', 'development|production']

export default defineConfig({
  plugins: [embeddedInVite()],
  resolve: { conditions: all },
  ssr: { resolve: { conditions: all, externalConditions: [...conditions, 'node'] } },
  test: {
    root: path.join(import.meta.dirname, '../..'),
    include: ['tooling/matrix/smoke/smoke.test.mjs'],
    server: { deps: { external: [/packages\/[^/]+\/dist\//] } },
    // A module kept from an earlier run holds the address of a worker's text, and that text as it was then.
    fsModuleCache: false,
    testTimeout: 30_000
  }
})
