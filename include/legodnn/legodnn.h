/** @file legodnn.h  Everything. One header per stage; each compiles alone. */
#ifndef LEGODNN_LEGODNN_H
#define LEGODNN_LEGODNN_H

#include "legodnn/block.h"
#include "legodnn/context.h"
#include "legodnn/data.h"
#include "legodnn/export.h"
#include "legodnn/import.h"
#include "legodnn/model.h"
#include "legodnn/optimize.h"
#include "legodnn/profile.h"
#include "legodnn/prune.h"
#include "legodnn/retrain.h"
#include "legodnn/runtime.h"
#include "legodnn/session.h"
#include "legodnn/status.h"
#include "legodnn/store.h"
#include "legodnn/task.h"
#include "legodnn/tensor.h"
#include "legodnn/torch.h"
#include "legodnn/train.h"

#endif
