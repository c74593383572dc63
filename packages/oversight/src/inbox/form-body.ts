/** What became of reading a form. */
export type FormBody =
  | { readonly outcome: 'read'; readonly fields: URLSearchParams }
  | { readonly outcome: 'refused'; readonly because: 'content-type' | 'too-large' }

/**
 * A detail of 65,536 characters, indented, each of them nine characters long in a form (`%E4%BD%A0`); 1 MiB covers what
 * an honest browser sends.
 */
const BODY_BYTES_MAX = 1_048_576

/** Reads a form as browsers send it, without ever holding more than the bound. */
export async function readForm(request: Request): Promise<FormBody> {
  const type = (request.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/x-www-form-urlencoded') return { outcome: 'refused', because: 'content-type' }
  if (Number(request.headers.get('content-length') ?? 0) > BODY_BYTES_MAX) return tooLarge
  if (request.body === null) return { outcome: 'read', fields: new URLSearchParams() }
  const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader()
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return { outcome: 'read', fields: new URLSearchParams(text + decoder.decode()) }
    bytes += value.byteLength
    if (bytes > BODY_BYTES_MAX) {
      await reader.cancel()
      return tooLarge
    }
    text += decoder.decode(value, { stream: true })
  }
}

const tooLarge: FormBody = { outcome: 'refused', because: 'too-large' }

/** A field as it was typed: browsers send line breaks as CR LF, which would count twice. */
export const typed = (fields: URLSearchParams, name: string): string =>
  (fields.get(name) ?? '').replaceAll('\r\n', '\n')
