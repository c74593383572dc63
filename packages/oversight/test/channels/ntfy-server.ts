import { localEndpoint, type Script, status } from '../webhook/local-endpoint.ts'

/** What somebody's phone shows. */
interface Push {
  readonly topic: string
  readonly title: string
  readonly message: string
  readonly click?: string
}

/** As much of an ntfy server as the channel meets, on the loopback. */
export async function ntfyServer() {
  const endpoint = await localEndpoint()
  const pushes: Push[] = []
  const take: Script = (response, { body }) => {
    pushes.push(JSON.parse(body) as Push)
    status(200)(response, { body, headers: {}, path: '' })
  }
  endpoint.answer(take)
  return {
    url: `http://127.0.0.1:${endpoint.port}/`,
    pushes,
    tries: () => endpoint.received.length,
    /** Answers so from now on; without a status it takes what comes. */
    answer: (code?: number, headers: Readonly<Record<string, string>> = {}) =>
      endpoint.answer(code === undefined ? take : status(code, headers)),
    [Symbol.asyncDispose]: () => endpoint[Symbol.asyncDispose]()
  }
}
