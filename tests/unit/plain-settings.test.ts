import { expect, test } from 'vitest';
import type { JsonObject } from '../../engine/contract/common.ts';
import { fieldTitle } from '../../engine/contract/field-names.ts';
import { flatten } from '../../engine/contract/flatten.ts';
import { plainSettings, runSettings } from '../../engine/contract/plain-settings.ts';

test('what was asked for is told in plain values, in its place', () => {
  const settings: JsonObject = {
    recipe: 'gptq-4',
    set: [
      { key: 'compensation.damping', value: '0.05' },
      { key: 'levels', value: '3' },
    ],
    calibration: { bundled: 'stories' },
    windows: 8,
    followUp: {
      quality: {
        text: { path: '/texts/held-out.txt' },
        samples: {
          prompts: [],
          sampling: [{ kind: 'greedy' }, { kind: 'sampled', temperature: 0.8, topP: 0.95, seed: 0 }],
        },
      },
    },
  };
  expect(Object.fromEntries(flatten(plainSettings(settings)))).toEqual({
    recipe: 'gptq-4',
    set: 'compensation.damping=0.05, levels=3',
    calibration: 'bundled:stories',
    windows: 8,
    'followUp.quality.text': '/texts/held-out.txt',
    'followUp.quality.samples.prompts': [],
    'followUp.quality.samples.sampling': 'greedy; temperature 0.8, top-p 0.95, seed 0',
  });
});

test('settings of a calibration that looked at no text are left out', () => {
  const settings: JsonObject = {
    recipe: 'rtn-4',
    calibration: { bundled: 'stories' },
    windows: 8,
    context: 512,
  };
  expect(runSettings({ settings, results: { quantize: { calibration: null } } })).toEqual({
    recipe: 'rtn-4',
  });
  const read = { quantize: { calibration: { name: 'stories' } } };
  expect(runSettings({ settings, results: read })).toEqual({ ...settings, calibration: 'bundled:stories' });
  // How it went is not known yet.
  expect(runSettings({ settings, results: {} })).toHaveProperty('windows', 8);
});

test('names of fields are titles without a raw name in them', () => {
  expect(fieldTitle('followUp.quality.text')).toBe('Judged on');
  expect(fieldTitle('cpuModel')).toBe('CPU model');
  expect(fieldTitle('modelBytes')).toBe('Weight file');
});
