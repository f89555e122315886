import { runCommand } from '../command.ts'
import { SERVE_ROWS } from '../netboot-rows.ts'

export default runCommand({
  name: 'serve',
  isService: true,
  help: {
    summary: 'Serve kernel, initrds and iPXE script over HTTP, without writing them to a folder',
    usage: 'kilnix serve --closure CLOSURE [options]',
    examples: [
      { about: 'For machines on this host', line: 'kilnix serve --closure ./closure-info --pieces ~/.cache/kilnix' },
      { about: 'For the machines of a network', line: 'kilnix serve --closure ./closure-info --style per-path --listen 192.168.0.1:8080' },
      {
        about: 'For machines that know it by a name',
        line: 'kilnix serve --closure ./closure-info --listen 0.0.0.0:8080 --host boot.example.org',
      },
    ],
  },
  rows: SERVE_ROWS,
  async run(given, run) {
    const { serve } = await import('../serve.ts')
    return serve(given, run)
  },
})
