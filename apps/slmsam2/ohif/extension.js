// The OHIF extension: one panel.
import { hostComponent } from './element.js';
import { mountPanel } from './panel.js';
import { addStyle } from './style.js';

export default {
  id: 'slmsam2',
  preRegistration: addStyle, // the tab's icon is ours also while the panel is closed
  getPanelModule: () => [{
    name: 'slmsam2',
    iconName: 'tab-4d', // OHIF's extensions cannot add icons; style.js draws ours over this one
    iconLabel: 'SLM-SAM 2',
    label: 'SLM-SAM 2',
    component: hostComponent(mountPanel),
  }],
};
