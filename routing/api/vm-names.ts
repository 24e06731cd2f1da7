/** Names for VMs that were given none: short, pronounceable, and easy to tell apart when read aloud. */

import { randomInt } from 'node:crypto'

const FIRST =
  'amber ample azure bold brave brisk bronze calm clear cobalt copper coral crisp dapper deft eager early fair fleet fond gentle glad golden grand green happy hardy humble indigo jade jolly keen kind lively lucid lunar maple mellow merry mild misty noble olive opal pearl plain proud quick quiet rapid ruby rustic sandy sharp silent silver smart solar spry steady stout sunny swift tidy topaz vivid warm wise young'
const SECOND =
  'badger beaver bison bobcat canary cheetah condor cougar coyote crane curlew dingo dolphin eagle egret falcon ferret finch gecko gibbon gopher heron hornet ibex iguana jackal jaguar kestrel koala lemur leopard lizard lynx magpie marlin marmot marten mole moose narwhal newt ocelot orca oriole osprey otter owl panda panther pelican penguin petrel pigeon plover puffin puma quail rabbit raven robin salmon seal sparrow stork swallow tapir tiger toucan turtle viper walrus weasel whale wombat wren zebra'

const ADJECTIVES = FIRST.split(' ')
const ANIMALS = SECOND.split(' ')
const FIRST_NUMBER = 10
const LAST_NUMBER = 99

/** As `amber-otter-42`; half a million of them. */
export function createVmName(): string {
  const number = randomInt(FIRST_NUMBER, LAST_NUMBER + 1)
  return `${pick(ADJECTIVES)}-${pick(ANIMALS)}-${number}`
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] ?? ''
}
