import { embeddedInVite } from '@enablement/build/vite'
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'
import type { Reporter } from 'vitest/node'

/** One plain closing line, for machines that read it. */
const closingLine: Reporter = {
  onTestRunEnd(modules) {
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 }
    for (const module of modules) for (const test of module.children.allTests()) count[test.result().state]++
    console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`)
  }
}

type Target = 'sources' | 'dist'

declare module 'vitest' {
  interface ProvidedContext {
    /** What the number of runs, rounds and callers of a test that only repeats itself is multiplied by. */
    scale: number
  }
}

/** On the sources each test counts; the built output shows that it is whole; `npm run soak` has the time. */
const scaleOf = (target: Target): number => (process.env['SOAK'] === '1' ? 100 : target === 'sources' ? 1 : 0.2)

/** A project's tests on the sources, or on the built packages as Node itself loads them for users. */
function project(
  name: string,
  target: Target,
  test: TestProjectInlineConfiguration['test']
): TestProjectInlineConfiguration {
  const conditions = target === 'sources' ? ['@enablement/source'] : []
  return {
    plugins: [embeddedInVite()],
    resolve: { conditions: [...conditions, 'module', 'node', 'development|production'] },
    ssr: {
      resolve: {
        conditions: [...conditions, 'module', 'node', 'development|production'],
        externalConditions: [...conditions, 'node']
      }
    },
    test: {
      name: target === 'sources' ? name : `${name}-dist`,
      // For tests that start programs of their own, which must load the same.
      env: { TARGET: target },
      provide: { scale: scaleOf(target) },
      server: { deps: { external: [/packages\/[^/]+\/dist\//] } },
      ...test
    }
  }
}

/** Time limits are for tests that hang: a busy machine may take its time. */
const unit = {
  include: ['packages/*/test/**/*.test.ts'],
  exclude: ['**/*.int.test.ts'],
  testTimeout: 30_000
}

/** Against real servers, which the set-up starts, or finds through REDIS_URL, REDIS_CLUSTER_URLS and POSTGRES_URL. */
const services = {
  include: ['packages/*/test/**/*.int.test.ts'],
  globalSetup: ['./tooling/services/src/vitest.ts'],
  testTimeout: 30_000
}

export default defineConfig({
  test: {
    reporters: ['default', closingLine],
    // Vitest leaves a core idle unless told otherwise; of two that is half.
    maxWorkers: '100%',
    // No test file depends on a fresh process: what each needs it makes, and closes.
    isolate: false,
    // The cache does not see what a bundled worker imports, and would run yesterday's worker.
    fsModuleCache: false,
    projects: [
      project('unit', 'sources', unit),
      project('unit', 'dist', unit),
      project('services', 'sources', services),
      project('services', 'dist', services),
      project('examples', 'dist', { include: ['examples/*/test/**/*.test.ts'], testTimeout: 60_000 }),
      // Part of `npm run check`: the tools are no part of what users get.
      ...(process.env['TOOLING'] === '1'
        ? [project('tooling', 'sources', { include: ['tooling/*/test/**/*.test.ts'], testTimeout: 60_000 })]
        : [])
    ]
  }
})
