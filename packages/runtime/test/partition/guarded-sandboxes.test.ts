import { mebibytes } from '@enablement/runtime'
import { describe, expect, it } from 'vitest'
import { agent, runtimeKit, until } from '../fakes/runtime-kit.ts'
import { simulatedNetwork } from './simulated-network.ts'

interface Heard {
  readonly type: string
  readonly at: number
}

function sandbox(net: ReturnType<typeof simulatedNetwork>, checkpoint: () => Promise<string> = async () => 'image') {
  const heard: Heard[] = []
  let checkpoints = 0
  return {
    heard,
    get checkpoints() {
      return checkpoints
    },
    id: 'sandbox_1',
    tell: (notice: { readonly type: string; readonly reason: string; readonly capabilities: readonly string[] }) => {
      expect(notice).toMatchObject({ reason: 'network_partition', capabilities: ['egress'] })
      heard.push({ type: notice.type, at: net.platform.clock.monotonic() })
    },
    checkpoint: () => {
      checkpoints += 1
      return checkpoint()
    }
  }
}

describe('sandboxes of a partition guard', () => {
  it('are checkpointed and told when the network goes, and told when it is back', async () => {
    const net = simulatedNetwork()
    const box = sandbox(net)
    const kept: string[] = []
    net.guard.enrol(box, (image) => void kept.push(image))
    await net.partition()
    expect(kept).toEqual(['image'])
    expect(box.heard.map(({ type }) => type)).toEqual(['degraded'])
    await net.recover()
    expect(box.heard.map(({ type }) => type)).toEqual(['degraded', 'recovered'])
    await net.close()
  })

  it('may be real ones: saved while they run, told, and restored without having heard of it', async () => {
    await using kit = runtimeKit()
    await using box = await kit.runtime.open({ ...agent, memoryLimitBytes: mebibytes(16) })
    await box.evaluate('const heard = []; onNotice(({ type }) => heard.push(type)); let rounds = 0')
    const net = simulatedNetwork()
    const images: Uint8Array<ArrayBuffer>[] = []
    net.guard.enrol(box, (image) => void images.push(image))
    const running = box.evaluate('while (heard.length < 2) { rounds += 1; await safepoint() } heard.join()')
    await net.partition()
    await until(() => images.length === 1)
    await net.recover()
    expect(await running).toEqual({ outcome: 'completed', value: 'degraded,recovered' })
    await using restored = await kit.runtime.restore({
      ...agent,
      memoryLimitBytes: mebibytes(16),
      checkpoint: images[0] as Uint8Array
    })
    expect(await restored.evaluate('heard.length')).toEqual({ outcome: 'completed', value: 0 })
    await net.close()
  })

  it('are told once for a partition, although a recovery did not last', async () => {
    const net = simulatedNetwork()
    const box = sandbox(net)
    net.guard.enrol(box, () => undefined)
    await net.partition()
    net.up = true
    while (net.monitor.state !== 'recovering') await net.platform.clock.advance(10)
    net.up = false
    await net.platform.clock.advance(1_000)
    expect(net.guard.partitions).toBe(2)
    await net.recover()
    expect(box.heard.map(({ type }) => type)).toEqual(['degraded', 'recovered'])
    expect(box.checkpoints).toBe(1)
    await net.close()
  })

  it('are told after 5 s when their checkpoint takes longer, and at once when it fails', async () => {
    const net = simulatedNetwork()
    const slow = sandbox(net, () => new Promise(() => undefined))
    const busy = sandbox(net, () => Promise.reject(new Error('SANDBOX_BUSY')))
    net.guard.enrol(slow, () => undefined)
    net.guard.enrol(busy, () => undefined)
    await net.partition()
    const found = net.platform.clock.monotonic()
    expect(busy.heard).toHaveLength(1)
    expect(net.events).toContainEqual({
      type: 'sandbox.unsaved',
      sandboxId: 'sandbox_1',
      error: new Error('SANDBOX_BUSY')
    })
    await net.platform.clock.advance(5_000)
    expect(slow.heard).toHaveLength(1)
    expect((slow.heard[0]?.at ?? 0) - found).toBeLessThanOrEqual(5_000)
    await net.close()
  })

  it('hear nothing of a partition that ended before they were saved', async () => {
    const net = simulatedNetwork()
    const box = sandbox(net, () => new Promise(() => undefined))
    net.guard.enrol(box, () => undefined)
    await net.partition()
    await net.recover()
    await net.platform.clock.advance(10_000)
    expect(box.heard).toEqual([])
    await net.close()
    expect(net.platform.clock.pendingTimers).toBe(0)
  })

  it('are told at once when they come during a partition, and no more when they have left', async () => {
    const net = simulatedNetwork()
    const [late, left] = [sandbox(net), sandbox(net)]
    const leave = net.guard.enrol(left, () => undefined)
    await net.partition()
    net.guard.enrol(late, () => undefined)
    leave()
    await net.platform.clock.advance(0)
    expect(late.heard.map(({ type }) => type)).toEqual(['degraded'])
    await net.recover()
    expect(left.heard.map(({ type }) => type)).toEqual(['degraded'])
    await net.close()
  })

  it('may be gone: one that throws does not keep the others from hearing', async () => {
    const net = simulatedNetwork()
    const gone = {
      ...sandbox(net),
      tell: () => {
        throw new Error('SANDBOX_GONE')
      }
    }
    const other = sandbox(net)
    net.guard.enrol(gone, () => undefined)
    net.guard.enrol(other, () => undefined)
    await net.partition()
    await net.recover()
    expect(other.heard.map(({ type }) => type)).toEqual(['degraded', 'recovered'])
    await net.close()
  })
})
