"""The tasks of the platform: `invoke --list` shows them."""

from invoke.collection import Collection

from toolkit.core import terminal
from toolkit.tasks import backup, images, inspection, lifecycle, observability, secrets, targets

terminal.prepare()

namespace = Collection.from_module(lifecycle)
backups = Collection("backup", backup.status, backup.verify)
backups.add_task(backup.backup, name="now", default=True)
namespace.add_collection(backups)
namespace.add_task(backup.restore)
namespace.add_collection(Collection.from_module(images), "images")
namespace.add_collection(Collection.from_module(secrets), "secrets")
namespace.add_collection(Collection.from_module(targets), "targets")
namespace.add_collection(Collection("observe", observability.check))
for task in (*Collection.from_module(inspection).tasks.values(), observability.demo, observability.reload_):
    namespace.add_task(task)
