// The OHIF extension: one panel.
import { hostComponent } from './element.js';
import { mountPanel } from './panel.js';

export default {
  id: 'slmsam2',
  getPanelModule: () => [{
    name: 'panel',
    iconName: 'tab-segmentation',
    iconLabel: 'SLM-SAM 2',
    label: 'SLM-SAM 2',
    component: hostComponent(mountPanel),
  }],
};
