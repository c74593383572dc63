/** The parts of the SDK's `LanguageModelV4CallOptions` that are read. */
export interface ModelCall {
  readonly prompt: readonly { readonly role: string; readonly content: unknown }[]
  readonly maxOutputTokens?: number | undefined
  readonly tools?: readonly unknown[] | undefined
  readonly abortSignal?: AbortSignal | undefined
}

/** The model that is called. */
export interface CalledModel {
  readonly provider: string
  readonly modelId: string
}

/** The SDK's `LanguageModelV4Usage`. Providers leave out what they do not count. */
export interface ModelUsage {
  readonly inputTokens: {
    readonly total: number | undefined
    readonly cacheRead?: number | undefined
    readonly cacheWrite?: number | undefined
  }
  readonly outputTokens: { readonly total: number | undefined; readonly reasoning?: number | undefined }
}

/** The parts of the SDK's stream parts that are read. */
export interface ModelStreamPart {
  readonly type: string
  readonly delta?: unknown
  readonly usage?: unknown
}

/** What a token is in characters, where nobody has counted: for English text in today's vocabularies. */
const CHARACTERS_PER_TOKEN = 4

/** What is taken for a picture or a document: within a factor of two of what providers ask for a page. */
const TOKENS_PER_FILE = 1_000

export const tokensOfText = (characters: number): number => Math.ceil(characters / CHARACTERS_PER_TOKEN)

/** What the model will read, estimated. */
export function promptTokens({ prompt, tools = [] }: ModelCall): number {
  let characters = tools.length === 0 ? 0 : lengthOf(tools)
  let files = 0
  for (const { content } of prompt) {
    if (typeof content === 'string') characters += content.length
    else if (Array.isArray(content)) {
      for (const part of content as readonly ModelPromptPart[]) {
        if (typeof part.text === 'string') characters += part.text.length
        else if (part.type === 'file' || part.type === 'image') files += 1
        else characters += lengthOf(part.input ?? part.output ?? '')
      }
    }
  }
  return tokensOfText(characters) + files * TOKENS_PER_FILE
}

interface ModelPromptPart {
  readonly type?: unknown
  readonly text?: unknown
  readonly input?: unknown
  readonly output?: unknown
}

/** Characters of a value as JSON; what is none counts nothing, for it is not sent either. */
function lengthOf(value: unknown): number {
  try {
    return JSON.stringify(value)?.length ?? 0
  } catch {
    return 0
  }
}
