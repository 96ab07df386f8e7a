//! Names of Graph v1.0, as its published metadata lists them: what Graph has and the simulator lacks is told from what
//! Graph does not have.

use crate::errors::GraphError;

/// A list of names, separated by spaces.
#[derive(Clone, Copy)]
pub(crate) struct Names(&'static str);

impl Names {
    pub(crate) const fn new(names: &'static str) -> Self {
        Self(names)
    }

    /// Whether it is one of them, in its case.
    pub(crate) fn has(self, name: &str) -> bool {
        self.0.split_ascii_whitespace().any(|known| known == name)
    }

    /// Whether a path's segment is one of them: case does not count, and neither do the namespace and the arguments of a
    /// function.
    fn has_segment(self, segment: &str) -> bool {
        let name = segment.split_once('(').map_or(segment, |(name, _)| name);
        let lower = name.to_ascii_lowercase();
        let bare =
            lower.strip_prefix("microsoft.graph.").or_else(|| lower.strip_prefix("graph.")).unwrap_or(&lower);
        self.0.split_ascii_whitespace().any(|known| known.eq_ignore_ascii_case(bare))
    }
}

/// Whether a path's segment is in one of the lists.
pub(crate) fn is_known(segment: &str, lists: &[Names]) -> bool {
    lists.iter().any(|names| names.has_segment(segment))
}

/// The answer to a segment that is not simulated: openly, when Graph has it, else in Graph's words.
pub(crate) fn beyond(segment: &str, lists: &[Names]) -> GraphError {
    if is_known(segment, lists) {
        GraphError::not_simulated(&format!("the segment '{segment}' here"))
    } else {
        GraphError::unknown_segment(segment)
    }
}

/// First segments of paths.
pub(crate) const ROOTS: Names = Names(
    "admin agreementAcceptances agreements appCatalogs applications applicationTemplates appRoleAssignments \
     auditLogs authenticationMethodConfigurations authenticationMethodsPolicy \
     certificateBasedAuthConfiguration chats communications compliance connections contacts contracts copilot \
     dataPolicyOperations deviceAppManagement deviceManagement devices directory directoryObjects \
     directoryRoles directoryRoleTemplates domainDnsRecords domains drive drives education employeeExperience \
     external filterOperators functions groupLifecyclePolicies groupSettings groupSettingTemplates identity \
     identityGovernance identityProtection identityProviders informationProtection invitations \
     oauth2PermissionGrants organization permissionGrants places planner policies print privacy reports \
     roleManagement schemaExtensions scopedRoleMemberships search security servicePrincipals shares sites \
     solutions storage subscribedSkus teams teamsTemplates teamwork tenantRelationships $entity $metadata",
);

/// Properties of a user.
pub(crate) const USER_PROPERTIES: Names = Names(
    "id deletedDateTime aboutMe accountEnabled ageGroup assignedLicenses assignedPlans authorizationInfo \
     birthday businessPhones city companyName consentProvidedForMinor country createdDateTime creationType \
     customSecurityAttributes department deviceEnrollmentLimit displayName employeeHireDate employeeId \
     employeeLeaveDateTime employeeOrgData employeeType externalUserState externalUserStateChangeDateTime \
     faxNumber givenName hireDate identities identityParentId imAddresses interests isManagementRestricted \
     isResourceAccount jobTitle lastPasswordChangeDateTime legalAgeGroupClassification \
     licenseAssignmentStates mail mailboxSettings mailNickname mobilePhone mySite officeLocation \
     onPremisesDistinguishedName onPremisesDomainName onPremisesExtensionAttributes onPremisesImmutableId \
     onPremisesLastSyncDateTime onPremisesProvisioningErrors onPremisesSamAccountName \
     onPremisesSecurityIdentifier onPremisesSyncEnabled onPremisesUserPrincipalName otherMails \
     passwordPolicies passwordProfile pastProjects postalCode preferredDataLocation preferredLanguage \
     preferredName print provisionedPlans proxyAddresses responsibilities schools securityIdentifier \
     serviceProvisioningErrors showInAddressList signInActivity signInSessionsValidFromDateTime skills state \
     streetAddress surname usageLocation userPrincipalName userType",
);

/// Navigation properties of a user.
pub(crate) const USER_LINKS: Names = Names(
    "activities adhocCalls agreementAcceptances appRoleAssignments authentication calendar calendarGroups \
     calendars calendarView chats cloudClipboard cloudPCs contactFolders contacts createdObjects \
     dataSecurityAndGovernance deviceManagementTroubleshootingEvents directReports drive drives \
     employeeExperience events extensions followedSites inferenceClassification insights joinedTeams \
     licenseDetails mailFolders managedAppRegistrations managedDevices manager memberOf messages \
     oauth2PermissionGrants onenote onlineMeetings onPremisesSyncBehavior outlook ownedDevices ownedObjects \
     people permissionGrants photo photos planner presence registeredDevices scopedRoleMemberOf settings \
     solutions sponsorOf sponsors teamwork todo transitiveMemberOf",
);

/// Actions and functions of a user.
pub(crate) const USER_CALLS: Names = Names(
    "assignLicense changePassword exportPersonalData findMeetingTimes getMailTips \
     removeAllDevicesFromManagement reprocessLicenseAssignment retryServiceProvisioning revokeSignInSessions \
     sendMail translateExchangeIds wipeManagedAppRegistrationsByDeviceTag exportDeviceAndAppManagementData \
     getManagedAppDiagnosticStatuses getManagedAppPolicies getManagedDevicesWithAppFailures reminderView \
     checkMemberGroups checkMemberObjects getMemberGroups getMemberObjects restore",
);

/// Properties of a group.
pub(crate) const GROUP_PROPERTIES: Names = Names(
    "id deletedDateTime accessType allowExternalSenders assignedLabels assignedLicenses \
     autoSubscribeNewMembers classification createdDateTime description displayName expirationDateTime \
     groupTypes hasMembersWithLicenseErrors hideFromAddressLists hideFromOutlookClients infoCatalogs \
     isArchived isAssignableToRole isFavorite isManagementRestricted isSubscribedByMail \
     licenseProcessingState mail mailEnabled mailNickname membershipRule membershipRuleProcessingState \
     onPremisesDomainName onPremisesExtensionAttributes onPremisesLastSyncDateTime onPremisesNetBiosName \
     onPremisesProvisioningErrors onPremisesSamAccountName onPremisesSecurityIdentifier onPremisesSyncEnabled \
     organizationId preferredDataLocation preferredLanguage proxyAddresses renewedDateTime \
     resourceBehaviorOptions resourceProvisioningOptions securityEnabled securityIdentifier \
     serviceProvisioningErrors theme uniqueName unseenConversationsCount unseenCount unseenMessagesCount \
     visibility welcomeMessageEnabled",
);

/// Navigation properties of a group.
pub(crate) const GROUP_LINKS: Names = Names(
    "acceptedSenders appRoleAssignments calendar calendarView conversations createdOnBehalfOf drive drives \
     events extensions groupLifecyclePolicies memberOf members membersWithLicenseErrors onenote \
     onPremisesSyncBehavior owners permissionGrants photo photos planner rejectedSenders settings sites team \
     threads transitiveMemberOf transitiveMembers",
);

/// Actions and functions of a group.
pub(crate) const GROUP_CALLS: Names = Names(
    "addFavorite assignLicense checkGrantedPermissionsForApp removeFavorite renew resetUnseenCount \
     retryServiceProvisioning subscribeByMail unsubscribeByMail validateProperties checkMemberGroups \
     checkMemberObjects getMemberGroups getMemberObjects restore",
);

/// What follows a whole collection of the directory.
pub(crate) const OBJECTS_CALLS: Names =
    Names("getAvailableExtensionProperties getByIds validateProperties delta $count");

/// Types, beside users and groups, that members of a group are cast to.
pub(crate) const MEMBER_TYPES: Names = Names("application device orgContact servicePrincipal");

/// Properties of an event (graph-facts §6.1).
pub(crate) const EVENT_PROPERTIES: Names = Names(
    "id categories changeKey createdDateTime lastModifiedDateTime allowNewTimeProposals attendees body \
     bodyPreview cancelledOccurrences end hasAttachments hideAttendees iCalUId importance isAllDay \
     isCancelled isDraft isOnlineMeeting isOrganizer isReminderOn location locations onlineMeeting \
     onlineMeetingProvider onlineMeetingUrl organizer originalEndTimeZone originalStart originalStartTimeZone \
     recurrence reminderMinutesBeforeStart responseRequested responseStatus sensitivity seriesMasterId showAs \
     start subject transactionId type webLink",
);

/// Navigation properties of an event (graph-facts §6.1).
pub(crate) const EVENT_LINKS: Names = Names(
    "attachments calendar exceptionOccurrences extensions instances multiValueExtendedProperties \
     singleValueExtendedProperties",
);

/// Actions of an event.
pub(crate) const EVENT_CALLS: Names = Names(
    "accept cancel decline dismissReminder forward permanentDelete snoozeReminder tentativelyAccept $value",
);

/// What follows a collection of events.
pub(crate) const EVENTS_CALLS: Names = Names("delta $count");

/// Members and calls of a calendar.
pub(crate) const CALENDAR_MEMBERS: Names = Names(
    "id allowedOnlineMeetingProviders canEdit canShare canViewPrivateItems changeKey color \
     defaultOnlineMeetingProvider hexColor isDefaultCalendar isRemovable isTallyingResponses name owner \
     calendarPermissions calendarView events multiValueExtendedProperties singleValueExtendedProperties \
     getSchedule permanentDelete allowedCalendarSharingRoles",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_known_in_any_case_and_with_their_namespace() {
        for good in [
            "translateExchangeIds",
            "TranslateExchangeIDs",
            "microsoft.graph.translateExchangeIds",
            "reminderView(a='b')",
        ] {
            assert!(is_known(good, &[USER_LINKS, USER_CALLS]), "{good}");
        }
        for bad in ["", "translate", "nothing", "microsoft.graph.", "USER_CALLS"] {
            assert!(!is_known(bad, &[USER_LINKS, USER_CALLS]), "{bad}");
        }
        assert!(USER_PROPERTIES.has("assignedPlans") && !USER_PROPERTIES.has("assignedplans"));
    }
}
