import { type ConformanceKit, conformanceTests } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

type Create = () => { readonly value: number }

const ran: string[] = []
const kit: ConformanceKit<Create, 'ordered' | 'durable'> = {
  name: 'test port',
  needs: ['ordered', 'durable'],
  cases: [
    { name: 'answers', run: async (create) => void ran.push(`answers ${create().value}`) },
    { name: 'keeps order', needs: ['ordered'], run: async () => void ran.push('keeps order') },
    {
      name: 'keeps order through a restart',
      needs: ['ordered', 'durable'],
      run: async () => void ran.push('keeps order through a restart')
    }
  ]
}
const create: Create = () => ({ value: 42 })

describe('conformance exam', () => {
  it('holds every case that the manifest calls for, in the order of the kit', async () => {
    const exam = conformanceTests(kit, { create, supports: { ordered: true, durable: true } })
    for (const { run } of exam) await run()
    expect(ran.splice(0)).toEqual(['answers 42', 'keeps order', 'keeps order through a restart'])
    expect(exam.omitted).toEqual([])
  })

  it('lists the cases left out with the needs that are not met', () => {
    const exam = conformanceTests(kit, { create, supports: { ordered: true, durable: false } })
    expect(exam.tests.map(({ name }) => name)).toEqual(['answers', 'keeps order'])
    expect(exam.omitted).toEqual([{ name: 'keeps order through a restart', unmet: ['durable'] }])
  })

  it.each([
    ['a need without an answer', kit, { ordered: true }, /supports\.durable must be true or false/],
    ['an answer that is neither yes nor no', kit, { ordered: true, durable: 'power-loss' }, /supports\.durable/],
    ['an answer to no question', kit, { ordered: true, durable: true, fast: true }, /supports\.fast is not a need/],
    [
      'two cases of one name',
      { ...kit, cases: [kit.cases[0], kit.cases[0]] },
      { ordered: true, durable: true },
      /two cases/
    ],
    [
      'a case with a need that the kit does not list',
      { ...kit, needs: ['ordered'] },
      { ordered: true },
      /needs durable, which the kit does not list/
    ]
  ])('refuses %s', (_what, kitOf, supports, message) => {
    expect(() => conformanceTests(kitOf as never, { create, supports } as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringMatching(message) })
    )
  })
})
