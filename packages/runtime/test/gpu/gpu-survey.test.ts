import { chmodSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { mebibytes } from '@enablement/runtime'
import { type GpuSurvey, type NvidiaSmi, nvidiaSmi, surveyGpus } from '@enablement/runtime/monitor'
import { fc } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'
import { type FakeGpuMachine, fixture, smiOf, smiScript } from '../fakes/fake-nvidia-smi.ts'
import { until } from '../fakes/runtime-kit.ts'

const survey = (machine: FakeGpuMachine) => surveyGpus(smiOf(machine))
const gpusOf = (found: GpuSurvey) => (found.outcome === 'read' ? found.gpus : [])

describe('a survey of GPUs', () => {
  it('reads several, each by its uuid, against what is there besides the driver’s reserve', async () => {
    const found = await survey({ query: fixture('h100.csv') })
    expect(found).toMatchObject({ outcome: 'read', unreadable: [] })
    expect(gpusOf(found)).toMatchObject([
      {
        key: 'GPU-3c7c4c3e-6b5f-8d11-5d4e-2a1a9c0f7b10',
        name: 'NVIDIA H100 80GB HBM3',
        totalBytes: mebibytes(80_994),
        usedBytes: mebibytes(1),
        utilizationRatio: 0
      },
      { usedBytes: mebibytes(78_512), utilizationRatio: 1 }
    ])
    // The measured H200: 55 + 614 + 143,103 = 143,772 MiB.
    expect(gpusOf(await survey({ query: fixture('h200.csv') }))).toMatchObject([{ totalBytes: mebibytes(143_158) }])
  })

  it('takes a cell in brackets for unknown and never for zero', async () => {
    expect(gpusOf(await survey({ query: fixture('consumer.csv') }))).toMatchObject([
      { name: 'NVIDIA GeForce RTX 3060', utilizationRatio: 0.14 },
      { name: 'NVIDIA GeForce RTX 4090', utilizationRatio: null, usedBytes: mebibytes(23_600) }
    ])
  })

  it.each([
    '[N/A]',
    '[Not Supported]',
    '[Unknown Error]',
    '[Function Not Found]',
    '[Requested functionality has been deprecated]',
    '[Insufficient Permissions]',
    'N/A',
    '-1',
    '1e9',
    ''
  ])('does not read a GPU whose used memory is %j, and reads the others', async (cell) => {
    const row = `1, GPU-bad00000-0000, 81559, ${cell}, 80994, 565, 0, Disabled, NVIDIA H100`
    const found = await survey({ query: `${fixture('h200.csv')}${row}\n` })
    expect(found).toMatchObject({ outcome: 'read', unreadable: ['GPU-bad00000-0000'], gpus: [{ name: 'NVIDIA H200' }] })
  })

  it('reads names with commas', async () => {
    const query = '0, GPU-12345678, 100, 1, 99, 0, 5, Disabled, NVIDIA Grace, Hopper, 96GB\n'
    expect(gpusOf(await survey({ query }))).toMatchObject([{ name: 'NVIDIA Grace, Hopper, 96GB' }])
  })

  it('reads a split GPU by its instances, whose compute instances share one memory', async () => {
    const found = await survey({ query: fixture('mig.csv'), xml: fixture('mig.xml') })
    const uuid = 'GPU-feba7e40-d724-01ff-b00f-3a439a28a6c7'
    expect(gpusOf(found).map(({ key, totalBytes, usedBytes }) => [key, totalBytes, usedBytes])).toEqual([
      [`${uuid}/gi1`, mebibytes(40_448), mebibytes(20_300)],
      [`${uuid}/gi5`, mebibytes(19_968), mebibytes(19_010)],
      [`${uuid}/gi6`, mebibytes(19_968), mebibytes(13)],
      ['GPU-f124aa59-d406-d45b-9481-8fcd694e6c9e', mebibytes(81_369), mebibytes(4)]
    ])
    expect(gpusOf(found)[0]?.processes).toEqual([
      { pid: 4101, usedBytes: mebibytes(12_000) },
      { pid: 4102, usedBytes: mebibytes(8_000) }
    ])
    expect(gpusOf(found)[1]?.processes).toEqual([{ pid: 4103, usedBytes: null }])
  })

  it.each([
    ['is cut short', fixture('mig.xml').slice(0, 900)],
    ['is cut short after the first GPU', `${fixture('mig.xml').split('</gpu>')[0]}</gpu>`],
    ['is no XML', 'garbage'],
    ['is empty', ''],
    ['defines entities', '<!DOCTYPE a [<!ENTITY x "y">]><nvidia_smi_log><gpu>&x;</gpu></nvidia_smi_log>']
  ])('does not read a split GPU whose long form %s, and reads the others', async (_what, xml) => {
    expect(await survey({ query: fixture('mig.csv'), xml })).toMatchObject({
      outcome: 'read',
      unreadable: ['GPU-feba7e40-d724-01ff-b00f-3a439a28a6c7'],
      gpus: [{ uuid: 'GPU-f124aa59-d406-d45b-9481-8fcd694e6c9e' }]
    })
  })

  it('asks an old driver for what it knows', async () => {
    const questions: string[] = []
    const smi: NvidiaSmi = async ([question = '']) => {
      questions.push(question)
      const isNew = question.includes('memory.reserved')
      return {
        outcome: 'exited',
        exitCode: isNew ? 2 : 0,
        stdout: isNew
          ? 'Field "memory.reserved" is not a valid field to query.\n'
          : question.startsWith('--query-gpu')
            ? '0, GPU-12345678, 16280, 8140, 8140, 7, Tesla P100-PCIE-16GB\n'
            : '',
        stderr: ''
      }
    }
    expect(gpusOf(await surveyGpus(smi))).toMatchObject([
      {
        name: 'Tesla P100-PCIE-16GB',
        totalBytes: mebibytes(16_280),
        usedBytes: mebibytes(8_140),
        utilizationRatio: 0.07
      }
    ])
    expect(questions).toHaveLength(3)
  })

  it('reads data that comes with a warning about a damaged serial number, exit code 14', async () => {
    const query = `${fixture('h200.csv')}WARNING: infoROM is corrupted at gpu 0000:3B:00.0\n`
    expect(await survey({ query, exitCode: 14 })).toMatchObject({ outcome: 'read', unreadable: [] })
  })

  it.each([
    [
      'no-driver',
      9,
      "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n"
    ],
    ['no-driver', 18, 'Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.183\n'],
    [
      'device-lost',
      15,
      'Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.  Reboot the system to recover this GPU\n'
    ],
    ['device-lost', 0, 'Unable to determine the device handle for GPU0: 0000:01:00.0: Unknown Error\n'],
    ['no-devices', 6, 'No devices were found\n'],
    ['no-devices', 0, 'No devices were found\n'],
    ['failed', 3, ''],
    ['failed', 255, fixture('h100.csv')],
    ['garbled', 0, ''],
    ['garbled', 0, '\0\0\x01'],
    ['garbled', 0, '<html>proxy error</html>'],
    ['garbled', 0, '0, 81559, 1\n']
  ])('is unavailable (%s) with exit code %d after %j', async (reason, exitCode, query) => {
    const found = await survey({ query, exitCode })
    expect(found).toMatchObject({ outcome: 'unavailable', reason })
    expect(found).not.toHaveProperty('gpus')
  })

  it('never reads zero, or anything, out of noise', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 200 }), fc.nat(20), async (query, exitCode) => {
        const found = await survey({ query, apps: query, xml: query, exitCode })
        expect(gpusOf(found)).toEqual([])
      }),
      { numRuns: 200 }
    )
  })
})

describe('nvidia-smi as a child process', () => {
  it('is asked three times at most, in the C locale', async () => {
    using script = smiScript({ query: fixture('mig.csv'), xml: fixture('mig.xml') })
    const found = await surveyGpus(nvidiaSmi({ file: script.file }))
    expect(gpusOf(found)).toHaveLength(4)
    expect(readFileSync(join(script.folder, 'calls'), 'utf8').trim().split('\n')).toEqual([
      'C --query-gpu=index,uuid,memory.total,memory.used,memory.free,memory.reserved,utilization.gpu,mig.mode.current,name --format=csv,noheader,nounits',
      'C --query-compute-apps=pid,used_memory,gpu_uuid --format=csv,noheader,nounits',
      'C -q -x'
    ])
  })

  it('is unavailable where there is none, or it may not be run', async () => {
    const reason = async (file: string) => surveyGpus(nvidiaSmi({ file }))
    expect(await reason('/nowhere/nvidia-smi')).toEqual({ outcome: 'unavailable', reason: 'not-installed' })
    using script = smiScript({})
    chmodSync(script.file, 0o644)
    expect(await reason(script.file)).toEqual({ outcome: 'unavailable', reason: 'not-installed' })
  })

  it('is unavailable when the system cannot start it', async () => {
    expect(await nvidiaSmi({ file: '/bin/true' })(['x'.repeat(4_000_000)])).toEqual({
      outcome: 'not-started',
      errno: 'E2BIG'
    })
  })

  it('is killed with all that it started when it hangs', async () => {
    using script = smiScript({ shell: `sleep 1000 & echo $! > "$0.pid"; trap '' TERM; wait` })
    const found = await surveyGpus(nvidiaSmi({ file: script.file, timeoutMs: 300 }))
    expect(found).toEqual({ outcome: 'unavailable', reason: 'timed-out' })
    const pid = readFileSync(`${script.file}.pid`, 'utf8').trim()
    await until(() => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z '))
  })

  it('is killed when it floods', async () => {
    using script = smiScript({ shell: 'exec yes 0, GPU-12345678, 1, 1, 1, 1, 1, Disabled, x' })
    expect(await surveyGpus(nvidiaSmi({ file: script.file, outputMaxBytes: 100_000 }))).toEqual({
      outcome: 'unavailable',
      reason: 'flooded'
    })
  })

  it.each([
    ['fails', 'exit 12', 'failed'],
    ['is killed', 'kill -SEGV $$', 'failed'],
    ['complains on its error stream', 'echo "No devices were found" >&2; exit 6', 'no-devices']
  ])('is unavailable when it %s', async (_what, shell, reason) => {
    using script = smiScript({ shell })
    expect(await surveyGpus(nvidiaSmi({ file: script.file }))).toMatchObject({ outcome: 'unavailable', reason })
  })

  it.each<[object]>([[{ timeoutMs: 0 }], [{ file: '' }], [{ path: '/bin' }]])('refuses %j', (options) => {
    expect(() => nvidiaSmi(options)).toThrow(/nvidiaSmi refused its options/)
  })
})
