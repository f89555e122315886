/** The commands that look at NARs and closures. */
import type { CommandInfo } from './command-info.ts'
import type { ClosureCommand, NarCommand } from './options.ts'

export const INSPECTIONS: Readonly<Record<NarCommand | ClosureCommand, CommandInfo>> = {
  'nar dump': {
    summary: 'Write the NAR of a file, folder or link to standard output',
    usage: 'kilnix nar dump PATH [MEMBER] [options]',
    examples: [
      { about: 'As nix-store --dump does', line: 'kilnix nar dump ./result > result.nar' },
      { about: 'The archive of one folder of a NAR', line: 'kilnix nar dump result.nar /share/doc > doc.nar' },
    ],
  },
  'nar hash': {
    summary: 'Print the NAR hash of a file, folder or link',
    usage: 'kilnix nar hash PATH [options]',
    examples: [
      { about: 'As nix hash path does', line: 'kilnix nar hash ./result' },
      { about: 'Of an archive, which is checked by every rule of the format', line: 'kilnix nar hash --base32 - < result.nar' },
    ],
  },
  'nar restore': {
    summary: 'Unpack a NAR with the modes and times of a store',
    usage: 'kilnix nar restore FILE DIR [options]',
    examples: [
      { about: 'From a file', line: 'kilnix nar restore result.nar ./result' },
      { about: 'From a pipe', line: 'xz -d < file.nar.xz | kilnix nar restore - ./result' },
    ],
  },
  'nar ls': {
    summary: 'List what is in a NAR',
    usage: 'kilnix nar ls FILE [MEMBER] [options]',
    examples: [
      { about: 'All of it', line: 'kilnix nar ls -R -l result.nar' },
      { about: 'With the places of the contents, as nix nar ls has them', line: 'kilnix nar ls --json -R result.nar /bin' },
    ],
  },
  'closure show': {
    summary: 'Print the sizes of the store paths of a closure',
    usage: 'kilnix closure show CLOSURE [options]',
    examples: [
      { about: 'What takes most', line: 'kilnix closure show ./closure-info --top 20' },
      { about: 'What could be saved most by leaving one path out', line: 'kilnix closure show ./closure-info --sort added --top 20' },
    ],
  },
  'closure why': {
    summary: 'Print why one store path needs another: the references from the one to the other',
    usage: 'kilnix closure why CLOSURE FROM TO [options]',
    examples: [
      { about: 'A shortest chain', line: 'kilnix closure why ./closure-info nixos-system-live perl-5.38.2' },
      {
        about: 'All chains, with the files that hold the references',
        line: 'kilnix closure why ./closure-info --all --precise nixos-system-live perl-5.38.2',
      },
    ],
  },
  'closure diff': {
    summary: 'Print what differs between two closures: packages, versions and sizes',
    usage: 'kilnix closure diff OLD NEW [options]',
    examples: [{ about: 'What an update changes', line: 'kilnix closure diff ./old-closure-info ./new-closure-info' }],
  },
  'closure check': {
    summary: 'Check a closure: complete, and hashes, sizes, references and content addresses as listed',
    usage: 'kilnix closure check CLOSURE [options]',
    examples: [{ about: 'Of a store below ./root', line: 'kilnix closure check ./closure-info --root ./root' }],
  },
}
