import { readFileSync } from 'node:fs'
import { defineConfig, type Options } from 'tsup'
import { embedded } from './embedded.ts'

interface Manifest {
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly imports?: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly bin?: Readonly<Record<string, string>>
}

/** The source files that package.json publishes (`exports`), runs (`bin`) or selects by platform (`imports`). */
function entriesOf(manifest: Manifest): string[] {
  const targets = [...Object.values(manifest.exports), ...Object.values(manifest.imports ?? {}), manifest.bin ?? {}]
  const sources = targets.flatMap((target) =>
    typeof target === 'string' ? [] : Object.values(target).filter((path) => path.startsWith('./src/'))
  )
  // A platform import has one dist file per condition but shares the naming rule src/x.ts -> dist/x.js.
  const built = targets
    .flatMap((target) => (typeof target === 'string' ? [] : Object.values(target)))
    .filter((path) => /^\.\/dist\/.*\.js$/.test(path))
    .map((path) => path.replace('./dist/', './src/').replace(/\.js$/, '.ts'))
  return [...new Set([...sources, ...built])]
}

/**
 * The one build: ESM for Node and browsers, shared chunks between a package's entries so that every class exists once.
 * Declarations come from the native TypeScript 7 compiler (`declarations.mjs`): four times faster than tsup's own
 * `dts`, which needs the older compiler API.
 */
export const preset = (more: Options = {}): ReturnType<typeof defineConfig> =>
  defineConfig({
    entry: entriesOf(JSON.parse(readFileSync('package.json', 'utf8')) as Manifest),
    outDir: 'dist',
    format: ['esm'],
    target: 'es2023',
    dts: false,
    sourcemap: true,
    clean: true,
    splitting: true,
    // `node:sqlite` has no name without its prefix.
    removeNodeProtocol: false,
    esbuildPlugins: [embedded({ minify: true })],
    ...more
  })
