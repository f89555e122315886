import { runCommand } from '../command.ts'
import { NETBOOT_ROWS } from '../netboot-rows.ts'
import { row } from '../row.ts'
import * as rows from '../rows.ts'
import { address, hostName } from '../values.ts'

export default runCommand({
  name: 'serve',
  isService: true,
  help: {
    summary: 'Serve kernel, initrds and iPXE script over HTTP, without writing them to a folder',
    usage: 'kilnix serve PATH|--closure CLOSURE [options]',
    examples: [
      { about: 'For machines on this host', line: 'kilnix serve --closure ./closure-info --pieces ~/.cache/kilnix' },
      { about: 'For the machines of a network', line: 'kilnix serve --closure ./closure-info --style per-path --listen 192.168.0.1:8080' },
      {
        about: 'For machines that know it by a name',
        line: 'kilnix serve --closure ./closure-info --listen 0.0.0.0:8080 --host boot.example.org',
      },
    ],
  },
  rows: {
    ...NETBOOT_ROWS,
    listen: row({
      type: address(),
      group: 'Server',
      default: '127.0.0.1:8080',
      about: 'Address and port to listen on; port 0 takes a free one, 0.0.0.0 or [::] lets other machines in',
    }),
    names: row({
      type: hostName(),
      group: 'Server',
      flag: 'host',
      repeatable: true,
      about: 'A name by which machines reach the server, as in http://NAME:8080/; addresses and localhost need none, all else is refused',
    }),
    ...rows.BUILDING,
  },
  async run(given, run) {
    const { serve } = await import('../serve.ts')
    return serve(given, run)
  },
})
