/** The command cannot do what it was told; the message is for whoever told it. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
}
