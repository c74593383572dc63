import { describe, expect, it } from 'vitest'
import { checkChangesets } from '../src/changesets.ts'
import { type Files, manifest, tree } from './support/tree.ts'

const faults = async (changesets: Files): Promise<string[]> => {
  using here = tree({
    'package.json': { name: 'root', private: true },
    'packages/core/package.json': manifest('@enablement/core', []),
    '.changeset/config.json': {},
    ...changesets
  })
  return (await checkChangesets(here.root)).faults.map(({ file, message }) => `${file}: ${message.split('\n')[0]}`)
}

describe('changesets gate', () => {
  it('is content with a changeset that can be released', async () => {
    expect(await faults({ '.changeset/a.md': '---\n"@enablement/core": minor\n---\n\nNew.\n' })).toEqual([])
  })

  it('refuses an unknown package and an empty text', async () => {
    expect(await faults({ '.changeset/a.md': '---\n"@enablement/cor": minor\n---\n' })).toEqual([
      '.changeset/a.md: there is no package @enablement/cor',
      '.changeset/a.md: it says nothing'
    ])
  })

  it('refuses one that a formatter has mangled', async () => {
    const [fault] = await faults({ '.changeset/a.md': '---\n\n## "@enablement/core": minor\n\nNew.\n' })
    expect(fault).toMatch(/^\.changeset: .+/)
  })
})
