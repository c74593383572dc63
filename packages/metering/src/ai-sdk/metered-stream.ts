import type { MeteredCall } from './metered-call.ts'
import type { ModelStreamPart } from './model-call.ts'

/**
 * The model's stream, counted as it passes. However it ends (completely, with an error, cancelled by whoever reads it)
 * the call is settled before that is passed on. Nothing is read ahead of the reader.
 */
export function meteredStream<Part extends ModelStreamPart>(
  stream: ReadableStream<Part>,
  call: MeteredCall,
  aborted: () => boolean
): ReadableStream<Part> {
  const reader = stream.getReader()
  const fail = async (): Promise<void> => {
    await call.end(aborted() ? 'aborted' : 'failed')
  }
  return new ReadableStream<Part>(
    {
      async pull(controller) {
        let read: Awaited<ReturnType<typeof reader.read>>
        try {
          read = await reader.read()
        } catch (error) {
          await fail()
          throw error
        }
        if (read.done) {
          await call.end(aborted() ? 'aborted' : 'complete')
          controller.close()
          return
        }
        try {
          await call.see(read.value)
        } catch (error) {
          await reader.cancel(error).catch(() => undefined)
          await fail()
          // The SDK's own form of an error, so that what was said before it still arrives.
          controller.enqueue({ type: 'error', error } as unknown as Part)
          controller.close()
          return
        }
        controller.enqueue(read.value)
      },
      async cancel(reason) {
        try {
          await reader.cancel(reason)
        } finally {
          await call.end('aborted')
        }
      }
    },
    { highWaterMark: 0 }
  )
}
