import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkSize } from '../src/size.ts'
import { type Files, manifest, tree } from './support/tree.ts'

const budgetFile = 'tooling/checks/size-budget.json'
const built: Files = {
  'packages/core/package.json': manifest('@enablement/core', [], { dependencies: { zod: '^4' } }),
  'packages/core/dist/index.js': `import { z } from 'zod'\nimport { a } from './chunk.js'\nexport const b = [a, z]\n`,
  'packages/core/dist/chunk.js': `export const a = ${JSON.stringify([...'abcdefghijklmnopqrstuvwxyz'])}\n`,
  [budgetFile]: { '@enablement/core': 500 }
}
const faults = async (changed: Files): Promise<string[]> => {
  using here = tree({ ...built, ...changed })
  return (await checkSize(here.root)).faults.map((one) => `${one.file}: ${one.message}`)
}

describe('size gate', () => {
  it('is content within the budget, whatever dependencies weigh', async () => {
    expect(await faults({})).toEqual([])
  })

  it('refuses an entry over its budget, with both numbers', async () => {
    const [fault] = await faults({ [budgetFile]: { '@enablement/core': 100 } })
    expect(fault).toMatch(/^packages\/core\/dist\/index\.js: @enablement\/core has \d{3} bytes, the budget is 100$/)
  })

  it('refuses an entry without a budget, and a budget without an entry', async () => {
    const found = await faults({ [budgetFile]: { '@enablement/core/sql': 100 } })
    expect(found.map((one) => one.replace(/\d+ bytes/, 'n bytes'))).toEqual([
      `${budgetFile}: no budget for @enablement/core (n bytes)`,
      `${budgetFile}: no entry @enablement/core/sql`
    ])
  })

  it('sets budgets with a tenth to spare', async () => {
    using here = tree(built)
    writeFileSync(path.join(here.root, budgetFile), '{}')
    await checkSize(here.root, ['--update'])
    const { '@enablement/core': budget } = JSON.parse(readFileSync(path.join(here.root, budgetFile), 'utf8'))
    expect(budget % 100).toBe(0)
    expect(await checkSize(here.root)).toMatchObject({ faults: [] })
  })
})
