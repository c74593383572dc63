import { embeddedInVite } from '@enablement/build/vite'
import { defineConfig } from 'vitest/config'
import type { Reporter } from 'vitest/node'

// TARGET=dist runs the same tests against the built packages, as users load them; the default is the sources.
const dist = process.env['TARGET'] === 'dist'
const conditions = dist ? [] : ['@enablement/source']

/** One plain closing line, for machines that read it. */
const closingLine: Reporter = {
  onTestRunEnd(modules) {
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 }
    for (const module of modules) for (const test of module.children.allTests()) count[test.result().state]++
    console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`)
  }
}

export default defineConfig({
  plugins: [embeddedInVite()],
  resolve: { conditions: [...conditions, 'module', 'node', 'development|production'] },
  ssr: {
    resolve: {
      conditions: [...conditions, 'module', 'node', 'development|production'],
      externalConditions: [...conditions, 'node']
    }
  },
  test: {
    reporters: ['default', closingLine],
    // Node itself loads the built packages, not Vite's module runner.
    server: { deps: { external: [/packages\/[^/]+\/dist\//] } },
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['packages/*/test/**/*.test.ts'], exclude: ['**/*.int.test.ts'] }
      },
      {
        extends: true,
        test: {
          name: 'services',
          include: ['packages/*/test/**/*.int.test.ts'],
          globalSetup: ['./tooling/services/src/vitest.ts'],
          testTimeout: 30_000
        }
      }
    ]
  }
})
