/** What help says of a command. */
export interface CommandInfo {
  readonly summary: string
  readonly usage: string
  readonly examples: readonly { readonly about: string; readonly line: string }[]
}
