import { join } from 'node:path'
import { bundleProgram } from '@enablement/build/program'

/** Bundles a child's program with what this test loads: the sources, or the built package. */
export async function bundledChild(name: string, folder: string): Promise<string> {
  const outfile = join(folder, `${name}.mjs`)
  const conditions = process.env['TARGET'] === 'dist' ? [] : ['@enablement/source']
  await bundleProgram(join(import.meta.dirname, `${name}.ts`), outfile, conditions)
  return outfile
}
