import { createDirectory, type DirectoryContents } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { asking, people, person } from './people.ts'

const layer = {
  name: 'primary',
  participants: ['ana', 'bo'],
  startsOn: '2026-01-05',
  handoffAt: '09:00',
  every: { weeks: 1 }
} as const

describe('a directory over data', () => {
  it('expands groups that contain groups, everybody once and in order', async () => {
    const directory = createDirectory({
      approvers: people('ana', 'bo', 'cy', 'dee'),
      groups: {
        all: [{ group: 'leads' }, 'cy', { group: 'night' }],
        leads: ['bo', 'ana'],
        night: ['dee', 'bo'],
        none: []
      }
    })
    expect(await directory.members('all', asking())).toEqual(['bo', 'ana', 'cy', 'dee'])
    expect(await directory.members('none', asking())).toEqual([])
  })

  it('answers who is on call by its schedules', async () => {
    const directory = createDirectory({
      approvers: people('ana', 'bo'),
      schedules: { primary: { zone: 'Europe/Berlin', layers: [layer] } }
    })
    const handoff = Date.parse('2026-01-12T09:00+01:00')
    expect(await directory.onCall('primary', { ...asking(), at: handoff - 1 })).toEqual(['ana'])
    expect(await directory.onCall('primary', { ...asking(), at: handoff })).toEqual(['bo'])
    expect(await directory.onCall('primary', { ...asking(), at: handoff - 1 })).toEqual(['ana'])
    await expect(directory.onCall('primary', { ...asking(), at: Number.NaN })).rejects.toThrow(RangeError)
  })

  it('serves all tenants, or the one that it names and nobody of another', async () => {
    const contents = { approvers: people('ana'), groups: { all: ['ana'] } }
    expect(await createDirectory(contents).find('ana', asking('any'))).toMatchObject({ id: 'ana' })
    const own = createDirectory({ ...contents, tenant: 'acme' })
    expect(await own.find('ana', asking('acme'))).toMatchObject({ id: 'ana' })
    expect(await own.find('ana', asking('globex'))).toBeUndefined()
    expect(await own.members('all', asking('globex'))).toBeUndefined()
  })

  it('keeps what it was given, whatever becomes of the data', async () => {
    const roles = ['finance']
    const directory = createDirectory({ approvers: [person('ana', { roles })] })
    roles.push('legal')
    expect((await directory.find('ana', asking()))?.roles).toEqual(['finance'])
  })

  it('takes members that are undefined for absent, as rows of a table have them', async () => {
    const row = { ...person('ana'), principal: undefined, roles: undefined }
    const directory = createDirectory({ approvers: [row as never] })
    expect(await directory.find('ana', asking())).toEqual(person('ana'))
  })

  const known = people('ana', 'bo')
  const wrong: readonly (readonly [string, Partial<DirectoryContents>, string])[] = [
    ['an id that is there twice', { approvers: people('ana', 'bo', 'ana') }, 'approvers.2.id'],
    ['ids that look alike', { approvers: people('ana', 'Ana') }, 'approvers.1.id'],
    ['a reserved id', { approvers: people('system:root') }, 'approvers.0.id'],
    ['an id with a line break', { approvers: people('a\nb') }, 'approvers.0.id'],
    ['a misspelt member', { approvers: [person('ana', { rolls: ['x'] } as object)] }, 'approvers.0.rolls'],
    [
      'an address with a line break',
      { approvers: [person('ana', { addresses: { email: 'a@b\r\nBcc: c@d' } })] },
      'approvers.0.addresses.email'
    ],
    [
      'an empty list of addresses',
      { approvers: [person('ana', { addresses: { email: [] } })] },
      'approvers.0.addresses.email'
    ],
    [
      'an authority that is no number',
      { approvers: [person('ana', { authority: Number.NaN })] },
      'approvers.0.authority'
    ],
    [
      'a principal who is somebody else in turn',
      { approvers: [person('a', { principal: 'b' }), person('b', { principal: 'c' })] },
      'approvers.0.principal'
    ],
    [
      'principals in a circle',
      { approvers: [person('a', { principal: 'b' }), person('b', { principal: 'a' })] },
      'approvers.1.principal'
    ],
    [
      'an absence that ends before it starts',
      { approvers: [person('ana', { away: [{ from: 2, until: 2 }] })] },
      'approvers.0.away.0.until'
    ],
    [
      'absences that overlap',
      {
        approvers: [
          person('ana', {
            away: [
              { from: 1, until: 3 },
              { from: 2, until: 4 }
            ]
          })
        ]
      },
      'approvers.0.away.1'
    ],
    [
      'an unknown delegate',
      { approvers: [person('ana', { away: [{ from: 1, until: 3, delegate: 'bo' }] })] },
      'approvers.0.away.0.delegate'
    ],
    [
      'a delegate of oneself',
      { approvers: [person('ana', { away: [{ from: 1, until: 3, delegate: 'ana' }] })] },
      'approvers.0.away.0.delegate'
    ],
    ['an unknown member', { groups: { all: ['ana', 'zoe'] } }, 'groups.all.1'],
    ['an unknown group in a group', { groups: { all: [{ group: 'zoe' }] } }, 'groups.all.0'],
    ['a member twice', { groups: { all: ['ana', 'ana'] } }, 'groups.all.1'],
    [
      'a group that contains itself',
      { groups: { a: [{ group: 'b' }], b: [{ group: 'c' }], c: [{ group: 'b' }] } },
      'groups.b'
    ],
    [
      'an unknown participant',
      { schedules: { s: { zone: 'UTC', layers: [{ ...layer, participants: ['ana', 'zoe'] }] } } },
      'schedules.s.layers.0.participants.1'
    ],
    [
      'an override with somebody unknown',
      { schedules: { s: { zone: 'UTC', layers: [layer], overrides: [{ from: 1, until: 2, add: 'zoe' }] } } },
      'schedules.s.overrides.0.add'
    ],
    ['a bad zone', { schedules: { s: { zone: 'Mars/Base', layers: [layer] } } }, 'schedules.s.zone'],
    ['a tenant without a name', { tenant: '' }, 'tenant'],
    ['an option that there is not', { group: {} } as never, 'group'],
    ['too many people', { approvers: people(...Array.from({ length: 10_001 }, (_, n) => `p${n}`)) }, 'approvers'],
    [
      'too many groups',
      { groups: Object.fromEntries(Array.from({ length: 1_001 }, (_, n) => [`g${n}`, []])) },
      'groups'
    ]
  ]
  it.each(wrong)('is refused with %s, by its path', (_, changed, path) => {
    const refused = expect.objectContaining({
      code: 'INVALID_OPTIONS',
      detail: expect.objectContaining({ issues: expect.arrayContaining([expect.objectContaining({ path })]) })
    })
    expect(() => createDirectory({ approvers: known, ...changed })).toThrow(refused)
  })

  it('takes absences that meet, and a delegate who delegates back', () => {
    const away = [
      { from: 1, until: 2, delegate: 'bo' },
      { from: 2, until: 3 }
    ]
    const back = [{ from: 1, until: 2, delegate: 'ana' }]
    expect(() => createDirectory({ approvers: [person('ana', { away }), person('bo', { away: back })] })).not.toThrow()
  })
})
