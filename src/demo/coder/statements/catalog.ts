// Coder's statements on organizations, users and templates (coderd/database/queries/), one function each.

import type { Micros } from "../../../change/micros.ts";
import { PREBUILDS_USER, type Uuid } from "../../../change/row.ts";
import type { Organization, Preset, Template, User, Version } from "../model.ts";
import { insert, time, update, type Sql } from "../sql.ts";

export function insertOrganization(
  organization: Organization,
  options: { isDefault: boolean; at: Micros },
): Sql {
  return insert("organizations", {
    id: organization.id,
    name: organization.name,
    description: "",
    created_at: time(options.at),
    updated_at: time(options.at),
    is_default: options.isDefault,
    display_name: organization.name,
  });
}

/** InsertUser; the prebuilds user comes from migration 000308 with the same statement. */
export function insertUser(user: User, options: { passwordHash: Uint8Array; at: Micros }): Sql {
  const isSystem = user.id === PREBUILDS_USER;
  return insert("users", {
    id: user.id,
    email: isSystem ? "prebuilds@system" : `${user.id}@example.com`,
    username: user.username,
    hashed_password: options.passwordHash,
    created_at: time(options.at),
    updated_at: time(options.at),
    status: "active",
    login_type: isSystem ? "none" : "password",
    is_system: isSystem,
  });
}

/** UpdateUserProfile: the part of it that is a rename. */
export function renameUser(user: User, username: string, at: Micros): Sql {
  return update("users", user.id, { username, updated_at: time(at) });
}

/** InsertTemplate. */
export function insertTemplate(template: Template, options: { by: User; at: Micros }): Sql {
  return insert("templates", {
    id: template.id,
    created_at: time(options.at),
    updated_at: time(options.at),
    organization_id: template.organization.id,
    name: template.name,
    provisioner: "terraform",
    active_version_id: template.version.id,
    description: "",
    created_by: options.by.id,
    display_name: "",
  });
}

/** UpdateTemplateMetaByID: the part of it that is a rename. */
export function renameTemplate(template: Template, name: string, at: Micros): Sql {
  return update("templates", template.id, { name, updated_at: time(at) });
}

/** UpdateTemplateActiveVersionByID. */
export function activateVersion(template: Template, version: Version, at: Micros): Sql {
  return update("templates", template.id, { active_version_id: version.id, updated_at: time(at) });
}

/** UpdateTemplateDeletedByID. */
export function deleteTemplate(template: Template, at: Micros): Sql {
  return update("templates", template.id, { deleted: true, updated_at: time(at) });
}

/** InsertTemplateVersion: `template` is null for the first version, which exists before its template does. */
export function insertVersion(
  version: Version,
  options: {
    template: Template | null;
    organization: Organization;
    job: Uuid;
    by: User;
    at: Micros;
  },
): Sql {
  return insert("template_versions", {
    id: version.id,
    template_id: options.template?.id ?? null,
    organization_id: options.organization.id,
    created_at: time(options.at),
    updated_at: time(options.at),
    name: version.name,
    readme: "# A template\n",
    message: "",
    job_id: options.job,
    created_by: options.by.id,
  });
}

/** UpdateTemplateVersionByID: gives the first version its template. */
export function adoptVersion(version: Version, template: Template, at: Micros): Sql {
  return update("template_versions", version.id, {
    template_id: template.id,
    updated_at: time(at),
  });
}

/** InsertPreset: only while a template version is imported. */
export function insertPreset(preset: Preset, version: Version, at: Micros): Sql {
  return insert("template_version_presets", {
    id: preset.id,
    template_version_id: version.id,
    name: preset.name,
    created_at: time(at),
    desired_instances: preset.desired,
  });
}
