/** Which help is meant by words of a command line. */
import { ABOUT_NAMES, COMMAND_NAMES, loadCommand, loadCommands } from './commands/index.ts'
import { commandOf, familyMembers, isFamily, unknownCommand } from './commands.ts'
import { commandHelp, familyHelp, generalHelp } from './help.ts'
import { usage } from './values.ts'

/** The text, which ends in a line feed. Throws USAGE where `words` name no command. */
export async function helpOf(words: readonly string[]): Promise<string> {
  const [topic] = words
  if (topic === undefined) return generalHelp(await loadCommands([...COMMAND_NAMES, ...ABOUT_NAMES]))
  const found = commandOf(words)
  if (found !== undefined) {
    if (found.rest[0] !== undefined) throw usage(`'${found.rest[0]}' is not expected`)
    return commandHelp(await loadCommand(found.name))
  }
  if (isFamily(topic) && words.length === 1) return familyHelp(topic, await loadCommands(familyMembers(topic)))
  throw unknownCommand(words)
}
