import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { bundleWorker, workerText } from './embedded.ts'

interface VitePlugin {
  name: string
  enforce: 'pre'
  resolveId(source: string, importer: string | undefined): string | undefined
  load(id: string): Promise<string | undefined>
}

/** What `embedded` does for the build, for tests that run on the sources. */
export function embeddedInVite(): VitePlugin {
  return {
    name: 'embedded',
    enforce: 'pre',
    resolveId(source, importer) {
      if (!workerText.test(source) || importer === undefined) return undefined
      return path.resolve(path.dirname(importer), source)
    },
    async load(id) {
      if (workerText.test(id)) {
        return `export default ${JSON.stringify(await bundleWorker(id.replace(workerText, ''), false))}`
      }
      if (id.endsWith('.lua')) return `export default ${JSON.stringify(await readFile(id, 'utf8'))}`
      return undefined
    }
  }
}
