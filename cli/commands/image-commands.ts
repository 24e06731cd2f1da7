/** `landfall image`: the images of this machine. They ask no API. */

import { type Command, type CommandContext, command } from '../command.ts'
import { refuseUsage } from '../errors.ts'
import type { ImageRow, ImageTools } from '../image-tools.ts'
import { IMAGE, IMAGE_KIND, REFERENCE } from '../kinds.ts'
import { formatSize } from '../units.ts'

const DIGEST_CHARACTERS = 12
const DETAILS =
  'It works on this machine, below the folder that LANDFALL_DATA names. docs/images.md says what becomes of an image.'

export const IMAGE_COMMANDS: readonly Command[] = [
  command('image build', {
    summary: 'Builds an image on this machine, for its VMs',
    details: DETAILS,
    examples: ['landfall image build debian', 'landfall image build --oci ./app.tar --name app'],
    arguments: {
      kind: { kind: IMAGE_KIND, summary: 'What to build, if not an OCI image', isOptional: true },
    },
    options: {
      oci: { kind: REFERENCE, summary: 'An OCI image: of a registry, or a path of a folder or an archive' },
      name: { kind: IMAGE, summary: 'What VMs call it; hello, small and debian have their own name' },
    },
    run: async (context, { args: { kind }, options: { oci, name } }) => {
      if ((kind === undefined) === (oci === undefined))
        refuseUsage('Either hello, small or debian can be built, or what --oci names.')
      if (oci !== undefined && name === undefined) refuseUsage('--name IMAGE is missing.')
      const { output, isJson } = context
      const wanted = { ...(kind && { kind }), ...(oci && { oci }), ...(name && { name }) }
      const image = await toolsOf(context).build(wanted, (line) => output.say(line))
      return isJson ? output.printJson(image) : output.print(image.name)
    },
  }),
  command('image list', {
    summary: 'Lists the images of this machine',
    details: DETAILS,
    run: async (context) => {
      const { output, isJson } = context
      const images = await toolsOf(context).list()
      if (isJson) return output.printJson(images)
      return output.printTable({
        titles: ['IMAGE', 'TAKES', 'DISK', 'PORT', 'DIGEST'],
        rows: images.map(toCells),
      })
    },
  }),
  command('image remove', {
    summary: 'Removes an image that no VM of this machine stands on',
    details: DETAILS,
    arguments: { name: { kind: IMAGE, summary: 'Its name' } },
    run: async (context, { args: { name } }) => {
      const { output, isJson } = context
      await toolsOf(context).remove(name)
      return isJson ? output.printJson({ deleted: [name] }) : output.say(`removed ${name}`)
    },
  }),
]

function toolsOf({ images }: CommandContext): ImageTools {
  return images ?? refuseUsage('Images are built by the program "landfall" alone.')
}

function toCells({ name, usedBytes, sizeBytes, port, digest }: ImageRow): readonly string[] {
  const sizes = [formatSize(usedBytes), formatSize(sizeBytes)]
  return [name, ...sizes, String(port ?? ''), digest.slice(0, DIGEST_CHARACTERS)]
}
