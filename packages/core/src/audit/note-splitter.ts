import { readCheckpoint } from './checkpoint.ts'
import { NOTE_CHARACTERS_MAX } from './signed-note.ts'

/**
 * Takes a file of checkpoints apart, line by line: signed notes one after the other, with or without empty lines
 * between them. Holds one note at a time, and nothing that is too long for one.
 */
export class NoteSplitter {
  #body: string[] = []
  #signatures: string[] = []
  /** Of the lines above. */
  #characters = 0
  /** Whether the body has ended. */
  #blank = false
  #strayLines = 0

  /** Lines so far that belong to no whole note: a note whose writer died, or something else. */
  get strayLines(): number {
    return this.#strayLines
  }

  /** Takes the next line, without its newline. Gives the note that has ended with the line before. */
  push(line: string): string | undefined {
    if (line === '') {
      this.#blank = true
      return this.#signatures.length > 0 ? this.end() : undefined
    }
    // What has become too long for a note is let go: the file may be anything.
    if (this.#characters > NOTE_CHARACTERS_MAX) this.end()
    if (line.startsWith('\u2014 ') && this.#blank && this.#body.length > 0) {
      this.#signatures.push(line)
      this.#characters += line.length
      return undefined
    }
    const ended = this.#blank || this.#signatures.length > 0 ? this.end() : undefined
    this.#body.push(line)
    this.#characters += line.length
    this.#blank = false
    return ended
  }

  /** After the last line: the note that ends with it. */
  end(): string | undefined {
    const lines = this.#body.length + this.#signatures.length
    const note = `${this.#body.join('\n')}\n\n${this.#signatures.join('\n')}\n`
    const isWhole = this.#signatures.length > 0 && readCheckpoint(note) !== undefined
    this.#body = []
    this.#signatures = []
    this.#characters = 0
    if (isWhole) return note
    this.#strayLines += lines
    return undefined
  }
}

/** The notes in a text such as a checkpoint file's, and how many of its lines belong to none. */
export function splitNotes(text: string): { readonly notes: readonly string[]; readonly strayLines: number } {
  const splitter = new NoteSplitter()
  const notes = text.split('\n').flatMap((line) => splitter.push(line) ?? [])
  const last = splitter.end()
  return { notes: last === undefined ? notes : [...notes, last], strayLines: splitter.strayLines }
}
