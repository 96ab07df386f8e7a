//! Annotations, finalizers and field managers that people and controllers see on objects.

/// Asks for one reconciliation now; any new value counts. Answered in `status.lastHandledReconcileAt`.
pub const RECONCILE_REQUESTED_AT: &str = "roomkeeper.dev/reconcile-requested-at";

/// On a CalendarSubscription: asks for one renewal of its Graph subscription now; any new value counts. Answered in
/// `status.lastHandledRenewAt` by a subscription that was authorised at most 10 minutes before, or at once where there is none.
pub const RENEW_REQUESTED_AT: &str = "roomkeeper.dev/renew-requested-at";

/// `"true"` on a CalendarSubscription or AccessScope under deletion: let it go without ending the remote side.
pub const FORCE_DELETE: &str = "roomkeeper.dev/force-delete";

/// On an AccessScope: lets a read of the groups take effect that would end unusually many subscriptions. The value is the one
/// that the condition `MembersResolved` names for this very change, so that a value left behind confirms nothing later.
pub const CONFIRM_SHRINK: &str = "roomkeeper.dev/confirm-shrink";

/// On an AccessScope: asks for an export of its audit now. The value is the time of asking, as RFC 3339 has it; answered by a
/// `status.audit.lastExportedAt` that is not before it.
pub const EXPORT_REQUESTED_AT: &str = "roomkeeper.dev/audit-export-requested-at";

/// Finalizer of a CalendarSubscription: its Graph subscription has to be deleted first.
pub const FINALIZER_GRAPH_SUBSCRIPTION: &str = "roomkeeper.dev/graph-subscription";

/// Finalizer of an AccessScope: its credential is needed to end the subscriptions made under it.
pub const FINALIZER_END_SUBSCRIPTIONS: &str = "roomkeeper.dev/end-subscriptions";

/// Label on ConsentRecords and operator-made CalendarSubscriptions: name of the AccessScope.
pub const LABEL_SCOPE: &str = "roomkeeper.dev/scope";

/// Label on ConsentRecords: object id of the user, so that support can select by it.
pub const LABEL_USER_ID: &str = "roomkeeper.dev/user-id";

/// Field manager of what support writes through the kubectl plugin.
pub const MANAGER_PLUGIN: &str = "kubectl-roomkeeper";

/// Field manager of the operator's writes.
pub const MANAGER_OPERATOR: &str = "roomkeeper-operator";

/// Field manager of the worker's writes (BookingRecord.spec, CalendarSubscription.status.delivery).
pub const MANAGER_WORKER: &str = "roomkeeper-worker";

/// Field manager of the consent endpoint's writes.
pub const MANAGER_CONSENT: &str = "roomkeeper-consent";
