/** An OCI image in a guest: its command runs as its maker said. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { buildBootFiles } from '../../../sidecar/guests/boot-files.ts'
import { buildOciImage } from '../../../sidecar/guests/oci-image.ts'
import { createTemplates } from '../../../sidecar/guests/template-store.ts'
import { folderFor } from '../../helpers/folder.ts'
import { bootedImageFor } from './booted-image.ts'
import { toTar, writeOciLayout } from './oci-files.ts'

const BUSYBOX = readFileSync('/bin/busybox')
/** Says of itself what the image's maker may rely on. */
const PAGE = `#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "user $(id -u) $(id -g) $(id -G | tr ' ' ,)"
echo "folder $START_FOLDER"
echo "text $TEXT"
echo "dotted $DOTTED"
echo "home $HOME"
echo "inherited $INHERITED"
`
/** A shell drops variables that it could not name, so what came is read where the kernel keeps it. */
const HTTPD = `#!/bin/sh
export START_FOLDER="$(pwd)"
export DOTTED="$(tr '\\0' '\\n' </proc/$$/environ | grep '^with.dot=')"
export INHERITED="$(tr '\\0' '\\n' </proc/$$/environ | grep -c -i landfall)"
exec /bin/busybox httpd "$@"
`
const TEXT = `it's "$HOME" \`id\` $(id) \\ ü`

t.setTimeout(115_000)

t.test(
  'an OCI image boots, and its command runs with its user, folder and environment',
  { timeout: 100_000 },
  async (t) => {
    const folder = folderFor(t)
    const layout = writeOciLayout(join(folder, 'app'), {
      layers: [
        toTar([
          { name: 'bin/busybox', text: BUSYBOX },
          ...['sh', 'id', 'tr', 'grep', 'echo', 'pwd'].map(
            (name) => ({ name: `bin/${name}`, type: '2', link: 'busybox' }) as const,
          ),
          { name: 'etc/passwd', text: 'root:x:0:0::/root:/bin/sh\napp:x:1234:1235::/srv/app:/bin/sh\n' },
          { name: 'etc/group', text: 'root:x:0:\napp:x:1235:\nextra:x:77:app\n' },
          { name: 'srv/app/cgi-bin/page', text: PAGE },
          // A program with the name of one of ours: it has to be the one that runs.
          { name: 'opt/httpd', text: HTTPD },
        ]),
      ],
      config: {
        Entrypoint: ['httpd'],
        Cmd: ['-f', '-p', '8123', '-h', '/srv/app'],
        User: 'app',
        WorkingDir: '/srv/work dir',
        Env: ['PATH=/opt:/bin', `TEXT=${TEXT}`, 'with.dot=yes'],
        ExposedPorts: { '8123/tcp': {}, '53/udp': {} },
      },
    })
    const data = join(folder, 'data')
    const { digest } = await buildBootFiles(data)
    const build = { reference: layout, name: 'app', boot: digest, env: {}, say: () => undefined }
    const template = await buildOciImage(createTemplates(data), build)
    t.equal(template.config.port, 8123)
    const guest = await bootedImageFor(t, template, join(folder, 'run'), { port: 8123 })
    await guest.listening(60_000)
    const answer = await fetch(`http://127.0.0.1:${guest.port}/cgi-bin/page`)
    t.same((await answer.text()).trim().split('\n'), [
      'user 1234 1235 1235,77',
      'folder /srv/work dir',
      `text ${TEXT}`,
      'dotted with.dot=yes',
      'home /srv/app',
      'inherited 0',
    ])
  },
)
